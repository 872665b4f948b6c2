"""Decisions of Ray Tune's trial schedulers at our rungs, without a cluster."""

from __future__ import annotations

import math

import pytest
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration.single_thread import SingleThreadExploration
from orchestration.exploration.trainable import NUMBER, TIME
from orchestration.exploration.trial_schedulers import make_hyperband, make_rules
from orchestration.exploration.verdicts import NotedScheduler, Verdicts
from orchestration.spec.search.pruning import bracket_sizes
from orchestration.spec.search.section import TrialSchedulerConfig
from orchestration.spec.search.trial import SearchTrial
from tests.support.exploring import METRIC, explored, search_with, trials


def ends(kind: str, count: int, at_once: int, **scheduler: int) -> dict[int, str]:
    search = search_with(kind, **scheduler)  # type: ignore[arg-type]
    num_rungs = search.config.trial_scheduler.num_rungs
    ended = explored(SingleThreadExploration(search, []), trials(count), lambda n, r: n - r, num_rungs, at_once)
    return {trial.number: "complete" if trial.state == "complete" else f"{len(trial.at_rungs)}" for trial in ended}


def test_asha_keeps_the_best_share_of_those_that_were_there_before() -> None:
    # Each trial is worse than those before: the first passes, no other is in the best third.
    assert ends("asha", 5, at_once=1) == {0: "complete", 1: "1", 2: "1", 3: "1", 4: "1"}


def test_the_median_rule_stops_none_before_enough_have_been_there() -> None:
    assert ends("median", 5, at_once=1, startup=3) == {0: "complete", 1: "complete", 2: "complete", 3: "1", 4: "1"}


def test_hyperband_halves_whole_brackets_whatever_runs_at_once() -> None:
    # Brackets of 3, 5 and 9 trials, of which the lower numbers are better; ceil(n / 3) go on after each rung.
    whole = dict.fromkeys([0, 1, 2, 3, 4], "complete")
    halved = {**whole, 5: "2", 6: "2", 7: "2", 8: "complete", 9: "2", 10: "2", **dict.fromkeys(range(11, 17), "1")}
    assert ends("hyperband", 17, at_once=17) == halved


def test_a_second_band_of_hyperband_is_compared_in_brackets_of_its_own() -> None:
    exploring = SingleThreadExploration(search_with("hyperband"), [])
    bands = [explored(exploring, trials(34)[start : start + 17], lambda n, r: n - r, 2) for start in (0, 17)]
    rungs = [[(trial.state, len(trial.at_rungs)) for trial in band] for band in bands]
    assert rungs[0] == rungs[1]
    assert [state for state, _ in rungs[0]].count("complete") == 3 + 2 + 1


@pytest.mark.parametrize("eta", range(2, 11))
@pytest.mark.parametrize("num_rungs", [1, 2, 3])
def test_brackets_have_the_sizes_of_ray_tune(eta: int, num_rungs: int) -> None:
    sizes = bracket_sizes(TrialSchedulerConfig("hyperband", 100.0, num_rungs, eta))
    scheduler = make_hyperband(search_with("hyperband", eta, num_rungs))
    for number in range(sum(sizes)):
        scheduler.on_trial_add(None, Trial("explore", stub=True, trial_id=str(number)))
    assert [bracket._n0 for bracket in scheduler._hyperbands[0]] == sizes
    milestones = [bracket._r0 for bracket in scheduler._hyperbands[0]]
    assert milestones == [eta ** (num_rungs - halvings) for halvings in range(num_rungs + 1)]


def test_a_trial_that_failed_is_compared_with_nobody() -> None:
    exploring = SingleThreadExploration(search_with("hyperband", num_rungs=1), [])
    proposed = trials(5)  # brackets of 2 and 3
    for trial in proposed:
        exploring.add(trial)
    exploring.end(SearchTrial(4, {}, "failed", reason="a node was lost"))
    verdicts = [exploring.decide(trial, 0, 1.0 * trial.number) for trial in proposed[2:4]]
    assert verdicts == [None, False]
    assert exploring.decide(proposed[2], 0, 2.0) is True


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_trials_of_before_count_as_if_they_had_been_heard_now(kind: str) -> None:
    def verdicts(num_before: int) -> list[bool | None]:
        search, proposed = search_with(kind, startup=2), trials(9)  # type: ignore[arg-type]
        before = [SearchTrial(n, {}, "pruned", at_rungs={0: math.sin(n)}) for n in range(num_before)]
        exploring = SingleThreadExploration(search, before)
        for trial in proposed[num_before:]:
            exploring.add(trial)
            last = exploring.decide(trial, 0, math.sin(trial.number))
            exploring.end(SearchTrial(trial.number, {}, "pruned", at_rungs={0: math.sin(trial.number)}))
        return [last]

    assert verdicts(0) == verdicts(4) == verdicts(8)


class Controller:
    """The part of Tune's controller that HyperBand calls."""

    def __init__(self, rules: TrialScheduler) -> None:
        self._rules, self.stopped = rules, list[int]()

    def get_trials(self) -> list[Trial]:
        return []

    def stop_trial(self, trial: Trial) -> None:
        if not trial.is_finished():
            if trial.status == Trial.RUNNING:  # or on its way to a pause
                self._rules.on_trial_complete(self, trial, {})
            else:
                self._rules.on_trial_remove(self, trial)
            trial.set_status(Trial.TERMINATED)
            self.stopped.append(trial.config[NUMBER])


def test_a_trial_that_is_pausing_as_its_bracket_ends_is_not_forgotten() -> None:
    rules = make_rules(search_with("hyperband", num_rungs=1), {})
    controller = Controller(rules)
    pair = [Trial("explore", stub=True, config={NUMBER: number}, trial_id=str(number)) for number in (0, 1)]
    for trial in pair:
        rules.on_trial_add(controller, trial)
        trial.set_status(Trial.RUNNING)
    result = {METRIC: 1.0, "config": {}}
    for trial in pair:
        rules.on_trial_result(controller, trial, result | {TIME: 1.0})
    assert rules.on_trial_result(controller, pair[0], result | {TIME: 3.0}) == TrialScheduler.PAUSE
    assert rules.on_trial_result(controller, pair[1], result | {TIME: 3.0}) == TrialScheduler.STOP
    controller.stop_trial(pair[1])
    rules.choose_trial_to_run(controller)
    assert controller.stopped == [1], "the other is on its way to its pause"
    pair[0].set_status(Trial.PAUSED)
    assert rules.choose_trial_to_run(controller) is None
    assert controller.stopped == [1, 0]


def test_a_trial_that_is_halved_on_its_way_to_its_pause_is_not_trained_on() -> None:
    verdicts = Verdicts()
    rules = NotedScheduler(make_rules(search_with("hyperband", num_rungs=1), {}), verdicts, {})
    controller = Controller(rules)
    five = [Trial("explore", stub=True, config={NUMBER: number}, trial_id=str(number)) for number in range(5)]
    for trial in five:
        rules.on_trial_add(controller, trial)
        trial.set_status(Trial.RUNNING)
    last = five[2:]  # the bracket with a halving
    for trial in last:
        decision = rules.on_trial_result(
            controller, trial, {METRIC: 9.0 - trial.config[NUMBER], TIME: 1.0, "config": {}}
        )
        trial.temporary_state.saving_to = True  # Tune saves it first, and then it is paused
    assert decision == TrialScheduler.CONTINUE
    assert controller.stopped == [2, 3]
    assert [verdicts.get(number, 1.0) for number in (2, 3, 4)] == [False, False, True]
