"""Searches on a made-up evaluation: trials become rows, what is known costs nothing, and a killed search goes on."""

from __future__ import annotations

import json
import math
import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from dfm_core.config import ExperimentConfig
from orchestration.common.errors import UserError
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.plan.plan import make_plan
from orchestration.search.plan_rows import published_trials, with_published_trials
from orchestration.search.searches import open_searches
from orchestration.search.single_level import MOST_REFUSED
from orchestration.search.study_address import search_storage
from orchestration.search.study_storage import StudyDatabase, StudyUnavailableError
from orchestration.search.summary import most_flops_text, search_text
from orchestration.spec.load import load_sweep
from orchestration.spec.search.space import Parameter
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import plan_file
from orchestration.storage.store import Store
from orchestration.tasks.training_chain import whole_flops
from tests.support.searches import METRIC, Driver, FakeTracker, Killed, smooth, sweep, told

SAMPLING = """
        sampling.tau: {uniform: [0.5, 0.95]}
        sampling.guidance: {uniform: [1.1, 2.0]}"""
POINTS = """
        sampling.steps: {choice: [[9, 3], [6, 6], [3, 3]]}"""
FRONT = {"sampler": "nsga2", "objectives": f"{{{METRIC}: minimize, num_evaluations: minimize}}"}
PRUNED = {"pruner": "{kind: median, rungs: [100, 350], startup: 2}", "part": "compute: {allow_unequal: true}\n"}


def document(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(plan_file("searched")))
    return found


def kinds(driver: Driver) -> list[str]:
    tasks = document(driver.store)["tasks"]
    return [tasks[digest]["kind"] for digest in driver.computed]


def test_every_proposal_becomes_a_row_whose_value_is_told(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, num_trials="4"), store)
    trials = told(driver.run())
    assert [trial.state for trial in trials] == ["complete"] * 4
    for trial in trials:
        tau, rate = trial.settings["sampling.tau"], trial.settings["training.learning_rate"]
        assert trial.values[0] == pytest.approx(10 * (abs(tau - 0.7) + 0.1 * abs(math.log10(rate) + 3)) + 100 / 700)
    published = document(store)
    (part,) = published["parts"]
    ranked = sorted(trials, key=lambda trial: trial.values)
    assert [row["label"] for row in part["rows"]] == [trial.label for trial in ranked]
    assert part["search"]["best"] == [ranked[0].label]
    assert {entry["row"] for entry in published["trials"]} == {trial.label for trial in trials}
    assert driver.said[0].startswith("p trial 0: learning_rate=")
    assert driver.said[0].endswith(f": complete {trials[0].values[0]:.6g}")


def test_trials_that_differ_in_sampling_alone_share_one_training(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, SAMPLING, num_trials="5"), store)
    driver.run()
    assert kinds(driver).count("train") == 1
    assert kinds(driver).count("evaluate") == 5


def test_a_finished_search_that_is_submitted_again_computes_and_proposes_nothing(tmp_path: Path, store: Store) -> None:
    spec = sweep(tmp_path, num_trials="3")
    first = told(Driver(spec, store).run())
    before = store.read(plan_file("searched"))
    again = Driver(spec, store)
    assert told(again.run()) == first
    assert again.computed == []
    assert store.read(plan_file("searched")) == before


def test_more_trials_go_on_from_those_that_there_are(tmp_path: Path, store: Store) -> None:
    first = told(Driver(sweep(tmp_path, num_trials="3"), store).run())
    more = told(Driver(sweep(tmp_path, num_trials="5"), store).run())
    assert more[:3] == first
    assert len(more) == 5


@pytest.mark.parametrize("kill_after", [0, 3, 4, 5, 8])
@pytest.mark.parametrize("search", [{}, PRUNED, FRONT], ids=["plain", "pruned", "front"])
def test_a_search_that_is_killed_and_resumed_is_the_uninterrupted_one(
    tmp_path: Path, search: Mapping[str, str], kill_after: int
) -> None:
    spec = sweep(tmp_path, num_trials="5", **search)
    whole = Driver(spec, Store(str(tmp_path / "whole")))
    expected = told(whole.run())
    store = Store(str(tmp_path / "cut"))
    cut = Driver(spec, store, kill_after=kill_after)
    with pytest.raises(Killed):
        cut.run()
    resumed = Driver(spec, store)
    assert told(resumed.run()) == expected
    assert cut.computed + resumed.computed == whole.computed  # nothing twice, nothing else, in the same order
    assert store.read(plan_file("searched")) == whole.store.read(plan_file("searched"))


def test_the_best_trials_are_measured_again_on_new_seeds(tmp_path: Path, store: Store) -> None:
    plain = sweep(tmp_path, num_trials="3")
    spec = sweep(tmp_path, num_trials="3", confirm="{seeds: [7, 8], num_trials: 2}")
    assert spec.searches[0].digest == plain.searches[0].digest, "what is known of a search stays"
    searches = Driver(spec, store).run()
    part, confirmed = document(store)["parts"]
    assert (part["search"]["confirmed"], confirmed["name"]) == ("p.confirmed", "p.confirmed")
    assert [row["label"] for row in confirmed["rows"]] == [row["label"] for row in part["rows"]][:2]
    assert {entry["seed"] for entry in document(store)["trials"] if entry["part"] == "p.confirmed"} == {7, 8}
    assert "search" not in confirmed
    trials = published_trials(spec, store)
    assert make_plan(with_published_trials(spec, trials)).tasks.keys() == searches.plan.tasks.keys()
    assert any("part p.confirmed" in line for line in search_text(spec.searches[0], trials["p"]))
    again = Driver(spec, store)
    again.run()
    assert again.computed == []


def test_winners_are_not_confirmed_on_the_seeds_that_chose_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="0 is one of the sweep's seeds"):
        sweep(tmp_path, num_trials="3", confirm="{seeds: [0, 8]}")


@pytest.mark.parametrize(
    ("confirm", "more", "said"),
    [
        ("{seeds: [7, 7]}", "", "has a seed twice"),
        ("{seeds: [7]}", "  p.confirmed: {rows: {A: {}}}\n", "the winners of p on new seeds have this name"),
    ],
)
def test_mistakes_in_what_confirms_winners_are_told(tmp_path: Path, confirm: str, more: str, said: str) -> None:
    sweep(tmp_path, num_trials="3", confirm="{seeds: [7]}")
    path = tmp_path / "sweep.yaml"
    path.write_text(path.read_text().replace("{seeds: [7]}", confirm) + more)
    with pytest.raises(UserError, match=said):
        load_sweep(path)


def test_claims_can_be_made_of_winners_and_not_of_a_search(tmp_path: Path) -> None:
    primary = f"primary: {{metric: {METRIC}, parts: [p.confirmed]}}\n"
    spec = sweep(tmp_path, num_trials="3", confirm="{seeds: [7]}", part=primary)
    assert spec.primary is not None
    with pytest.raises(UserError, match=r"'p' is a search.*name 'p.confirmed'"):
        sweep(tmp_path, num_trials="3", confirm="{seeds: [7]}", part=primary.replace("p.confirmed", "p"))
    with pytest.raises(UserError, match=r"'p.confirmed' is not a part"):
        sweep(tmp_path, num_trials="3", part=primary)


def test_more_winners_than_trials_cost_no_more(tmp_path: Path) -> None:
    texts = []
    for number in (3, 50):
        (search,) = sweep(tmp_path, num_trials="3", confirm=f"{{seeds: [7], num_trials: {number}}}").searches
        texts.append(most_flops_text(search, ()))
        assert "The best 3 are measured again" in "".join(search_text(search, ()))
    assert texts[0] == texts[1]


def test_a_proposal_that_is_known_costs_nothing_and_is_told_at_once(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, POINTS, num_trials="12", sampler="random"), store)
    trials = told(driver.run())
    assert len(trials) == 12
    assert kinds(driver).count("evaluate") == len({str(trial.settings) for trial in trials}) == 3
    assert len({(str(trial.settings), trial.values) for trial in trials}) == 3


def test_what_another_sweep_measured_is_known_too(tmp_path: Path, store: Store) -> None:
    Driver(sweep(tmp_path, POINTS, num_trials="3", sampler="grid"), store).run()
    other = Driver(sweep(tmp_path, POINTS, num_trials="6", sampler="random", seed="5"), store)
    assert len(told(other.run())) == 6
    assert other.computed == []
    assert set(other.tracker.found) >= {digest for digest, task in make_plan(other.spec).tasks.items() if task.inputs}


STEPS = "\n        sampling.tau: {uniform: [0.5, 0.95], step: 0.05}"


def test_a_value_on_a_step_is_that_of_a_row_that_a_person_wrote(tmp_path: Path, store: Store) -> None:
    sweep(tmp_path, STEPS, num_trials="10", sampler="grid")
    path = tmp_path / "sweep.yaml"
    rows = ", ".join(f"tau {tau}: {{sampling: {{tau: {tau}}}}}" for tau in (0.55, 0.8, 0.85, 0.9))
    path.write_text(path.read_text().replace("  p:\n", f"  p:\n    rows: {{{rows}}}\n"))
    driver = Driver(load_sweep(path), store)
    trials = told(driver.run())
    assert kinds(driver).count("evaluate") == 10
    assert [trial.settings["sampling.tau"] for trial in trials[6:9]] == [0.8, 0.85, 0.9]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_values_on_steps_of_an_earlier_release_keep_their_digests_and_records(
    tmp_path: Path, store: Store, sampler: str
) -> None:
    step, values = "\n        sampling.tau: {uniform: [0.1, 0.4], step: 0.1}", {0.1, 0.2, 0.30000000000000004, 0.4}
    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr(Parameter, "on_step", lambda _self, value: value)
        before = Driver(sweep(tmp_path, step, num_trials="16", sampler=sampler), store)
        assert {trial.settings["sampling.tau"] for trial in told(before.run())} == values
    after = Driver(sweep(tmp_path, step, num_trials="24", sampler=sampler), store)
    assert {trial.settings["sampling.tau"] for trial in told(after.run())} == values
    assert after.computed == []


def test_two_equal_proposals_in_flight_are_one_computation(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, POINTS, num_trials="8", sampler="random"), store, slots=8)
    assert len(told(driver.run())) == 8
    assert kinds(driver).count("evaluate") <= 3


def test_as_many_trials_run_at_once_as_there_are_slots(tmp_path: Path, store: Store) -> None:
    most = []

    class Watching(Driver):
        def compute(self, task: Any) -> None:
            (found,) = document(self.store)["parts"]
            most.append(sum(trial["state"] == "running" for trial in found["search"]["trials"]))
            super().compute(task)

    Watching(sweep(tmp_path, num_trials="6"), store, slots=3).run()
    assert max(most) == 3
    assert most[-1] == 1


def test_the_value_of_a_trial_is_the_mean_over_the_seeds(tmp_path: Path, store: Store) -> None:
    def by_seed(config: ExperimentConfig, _step: int) -> dict[str, float]:
        return {METRIC: 10.0 + config.seed}

    (trial,) = told(Driver(sweep(tmp_path, num_trials="1", part="seeds: [0, 3]\n"), store, by_seed).run())
    assert trial.values == (11.5,)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_told_as_failed_and_never_again(
    tmp_path: Path, store: Store, value: float
) -> None:
    def broken(config: ExperimentConfig, step: int) -> dict[str, float]:
        return {METRIC: value} if config.sampling.tau[0] < 0.7 else smooth(config, step)

    spec = sweep(tmp_path, num_trials="6")
    trials = told(Driver(spec, store, broken).run())
    states = {trial.settings["sampling.tau"] < 0.7: trial.state for trial in trials}
    assert states == {True: "valueless", False: "complete"}
    assert {trial.reason for trial in trials} == {"", f"{METRIC} is no finite number"}
    again = Driver(spec, store, broken)
    searches = again.run()
    assert told(searches) == trials
    assert again.computed == []
    assert len(searches._searches[0].study._study.trials) == 6  # nor asked of Optuna again


@pytest.mark.proves(18)
def test_what_failed_is_tried_again_at_the_next_submission(tmp_path: Path, store: Store) -> None:
    spec = sweep(tmp_path, SAMPLING, num_trials="2")
    trials = told(Driver(spec, store, fails={"evaluate": "a node was lost"}).run())
    assert [trial.state for trial in trials] == ["failed", "failed"]
    assert trials[0].reason == f"{trials[0].label} @ 700: a node was lost"
    again = told(Driver(spec, store).run())
    assert [trial.state for trial in again] == ["complete", "complete"]
    assert [trial.settings for trial in again] == [trial.settings for trial in trials]


def test_a_proposal_that_breaks_a_rule_costs_nothing_and_does_not_count(tmp_path: Path, store: Store) -> None:
    limit = {"constraints": "{num_evaluations: {at_most: 12}}"}
    driver = Driver(sweep(tmp_path, POINTS, num_trials="4", sampler="random", **limit), store)
    trials = told(driver.run())
    sound = [trial for trial in trials if trial.state == "complete"]
    refused = [trial for trial in trials if trial.state == "refused"]
    assert len(sound) == 4
    assert refused
    assert {str(trial.settings["sampling.steps"]) for trial in sound} == {"[3, 3]"}
    assert refused[0].reason == "num_evaluations is 24, not at most 12"
    assert kinds(driver).count("evaluate") == 1
    assert all("refused" not in trial for trial in document(store)["trials"])


def test_a_rule_that_spans_keys_is_told_as_of_any_row(tmp_path: Path, store: Store) -> None:
    space = "\n        model.patch_sizes: {choice: [[2, 4], [2, 8], [3, 6]]}"
    trials = told(Driver(sweep(tmp_path, space, num_trials="3", sampler="grid"), store).run())
    reasons = {str(trial.settings["model.patch_sizes"]): trial.reason for trial in trials}
    assert "does not divide" in reasons["[3, 6]"]


def test_a_search_whose_proposals_all_break_a_rule_ends_and_says_why(tmp_path: Path, store: Store) -> None:
    limit = {"constraints": "{num_evaluations: {at_most: 1}}"}
    space = "\n        sampling.tau: {uniform: [0.5, 0.9]}\n        sampling.steps: {choice: [[9, 3], [6, 3]]}"
    searches = Driver(sweep(tmp_path, space, sampler="random", **limit), store).run()
    assert len(told(searches)) == MOST_REFUSED
    (problem,) = searches.problems
    assert "proposals in a row break a rule, the last because num_evaluations is" in problem
    assert f"The search is not finished: {problem}" in list(searches.texts())


def test_trials_of_unequal_compute_are_refused_unless_the_sweep_allows_them(tmp_path: Path, store: Store) -> None:
    space = "\n        model.size: {choice: [nano, micro]}"
    unequal = told(Driver(sweep(tmp_path, space, num_trials="2", sampler="grid"), store).run())
    assert [trial.state for trial in unequal] == ["refused", "complete"]
    assert "from the base in training compute; give compute.budget" in unequal[0].reason
    budget = sweep(tmp_path, space, num_trials="2", sampler="grid", part="compute: {budget: 1.0e+12}\n")
    assert [trial.state for trial in told(Driver(budget, store).run())] == ["complete", "complete"]


def test_a_running_trial_that_breaks_a_rule_by_now_ends_and_others_take_its_place(tmp_path: Path, store: Store) -> None:
    space = "\n        training.batch_size: {choice: [8, 12]}\n        sampling.tau: {uniform: [0.5, 0.9]}"
    unequal = "compute: {allow_unequal: true}\n"
    cut = Driver(sweep(tmp_path, space, num_trials="6", part=unequal), store, kill_after=3, slots=6)
    with pytest.raises(Killed):
        cut.run()
    wider = sweep(tmp_path, space, num_trials="6", part=f"{unequal}workers: {{num_workers: 8}}\n")
    trials = told(Driver(wider, store).run())
    states = {(trial.settings["training.batch_size"], trial.state) for trial in trials}
    assert states == {(8, "complete"), (12, "refused")}
    assert sum(trial.state == "complete" for trial in trials) == 6


def test_a_limit_on_a_metric_makes_a_better_trial_not_the_best(tmp_path: Path, store: Store) -> None:
    def score(config: ExperimentConfig, step: int) -> dict[str, float]:
        return smooth(config, step) | {"label_accuracy": config.sampling.tau[0]}

    limit = {"constraints": "{label_accuracy: {at_least: 0.78}}"}
    driver = Driver(sweep(tmp_path, num_trials="8", **limit), store, score)
    trials = told(driver.run())
    (best,) = document(store)["parts"][0]["search"]["best"]
    assert min(trials, key=lambda trial: trial.values).label != best
    (found,) = [trial for trial in trials if trial.label == best]
    assert found.settings["sampling.tau"] >= 0.78
    assert {trial.is_feasible for trial in trials} == {True, False}


def test_two_objectives_give_a_front_that_stands_first(tmp_path: Path, store: Store) -> None:
    def score(config: ExperimentConfig, _step: int) -> dict[str, float]:
        return {METRIC: 100.0 / sum(config.sampling.steps) + 100 * abs(config.sampling.tau[0] - 0.7)}

    space = POINTS + "\n        sampling.tau: {choice: [0.6, 0.7]}"
    trials = told(Driver(sweep(tmp_path, space, num_trials="16", **FRONT), store, score).run())
    part = document(store)["parts"][0]
    front = {trial.label.split(": ")[1] for trial in trials if trial.label in part["search"]["best"]}
    assert front <= {"steps=9+3, tau=0.7", "steps=6+6, tau=0.7", "steps=3+3, tau=0.7"}
    labels = [row["label"] for row in part["rows"]]
    assert set(labels[: len(part["search"]["best"])]) == set(part["search"]["best"])


def test_a_trial_that_is_pruned_was_trained_to_its_rung_and_others_go_on_from_there(
    tmp_path: Path, store: Store
) -> None:
    driver = Driver(sweep(tmp_path, num_trials="6", **PRUNED), store)
    trials = told(driver.run())
    pruned = [trial for trial in trials if trial.state == "pruned"]
    whole = [trial for trial in trials if trial.state == "complete"]
    assert pruned
    assert whole
    assert all(trial.values == () and 0 in trial.at_rungs for trial in pruned)
    assert all(sorted(trial.at_rungs) == [0, 1] for trial in whole)
    tasks, entries = document(store)["tasks"], document(store)["trials"]
    trained = {entry["row"]: tasks[entry["train"]]["until_step"] for entry in entries}
    assert {trained[trial.label] for trial in whole} == {700}
    assert all(trained[trial.label] == (100, 350)[max(trial.at_rungs)] for trial in pruned)
    trainings = [digest for digest in driver.computed if tasks[digest]["kind"] == "train"]
    assert len(set(trainings)) == 6  # a promoted trial is the same training, taken further
    assert len(trainings) == sum(len(trial.at_rungs) for trial in trials) + len(whole)


def test_the_published_trials_are_shown_without_optuna_as_they_were(tmp_path: Path, store: Store) -> None:
    spec = sweep(tmp_path, num_trials="4", **PRUNED)
    searches = Driver(spec, store).run()
    trials = published_trials(spec, store)
    assert trials["p"] == told(searches)
    shown = make_plan(with_published_trials(spec, trials))
    assert shown.tasks.keys() == searches.plan.tasks.keys()
    again = open_searches(spec, shown, store, FakeTracker(), lambda _: None, {})
    assert again.plan is shown, "the same trials are planned once"
    assert published_trials(sweep(tmp_path, num_trials="4", sampler="random"), store) == {}
    text = "\n".join([*search_text(spec.searches[0], trials["p"]), most_flops_text(spec.searches[0], trials["p"])])
    assert "Leading: trial" in text
    assert "All its trials are proposed." in text


def test_the_most_that_a_search_can_cost_is_that_of_its_costliest_corner(tmp_path: Path) -> None:
    space = "\n        model.size: {choice: [nano, micro]}\n        training.learning_rate: {log: [0.001, 0.01]}"
    unequal = "compute: {allow_unequal: true}\n"
    (search,) = sweep(tmp_path, space, num_trials="3", part=f"{unequal}seeds: [0, 1]\n").searches
    costliest = search.row(SearchTrial(0, {"model.size": "micro", "training.learning_rate": 0.01}))[0]
    assert costliest is not None
    flops = 3 * 2 * whole_flops(costliest.configs[0])
    assert f"Its 3 trials to come: at most {flops:.3g} FLOPs of training" in most_flops_text(search, ())
    assert "All its trials are proposed" in most_flops_text(search, [SearchTrial(n, {}) for n in range(3)])


def test_the_cost_of_winners_on_new_seeds_is_said_before_they_are_known(tmp_path: Path) -> None:
    (search,) = sweep(tmp_path, num_trials="3", confirm="{seeds: [7, 8], num_trials: 2}").searches
    found = search.row(SearchTrial(0, {"training.learning_rate": 0.01}))[0]
    assert found is not None
    flops = whole_flops(found.configs[0])
    text = most_flops_text(search, ())
    assert f"Its 3 trials to come: at most {3 * flops:.3g} FLOPs of training and " in text
    assert f"; its best 2 on new seeds: at most {4 * flops:.3g} FLOPs of training and " in text
    assert "The best 2 are measured again on 2 new seeds once all ended: part p.confirmed." in "".join(
        search_text(search, ())
    )
    running = [SearchTrial(n, {}) for n in range(3)]
    assert "All its trials are proposed; its best 2 on new seeds: at most" in most_flops_text(search, running)
    ended = [SearchTrial(n, {}, "complete") for n in range(3)]
    assert most_flops_text(search, ended) == "  All its trials are proposed."  # the winners are planned


def test_winners_of_a_search_of_sampling_share_a_training_on_each_new_seed(tmp_path: Path) -> None:
    (search,) = sweep(tmp_path, SAMPLING, num_trials="1", confirm="{seeds: [7, 8], num_trials: 1}").searches
    one = most_flops_text(search, ())
    (search,) = sweep(tmp_path, SAMPLING, num_trials="3", confirm="{seeds: [7, 8], num_trials: 3}").searches
    three = most_flops_text(search, ())
    first, second = (
        re.findall(r"new seeds: at most (\S+) FLOPs of training and (\S+) of", text)[0] for text in (one, three)
    )
    assert first[0] == second[0]
    assert float(second[1]) == pytest.approx(3 * float(first[1]), rel=0.01)


def test_a_search_of_sampling_announces_no_training_that_is_planned_already(tmp_path: Path) -> None:
    spec = sweep(tmp_path, SAMPLING, num_trials="1")
    (search,) = spec.searches
    alone = most_flops_text(search, ())
    assert re.fullmatch(r"  Its 1 trial to come: at most \S+ FLOPs of training and \S+ of sampling\.", alone)
    path = tmp_path / "sweep.yaml"
    path.write_text(path.read_text().replace("  p:\n", "  p:\n    rows: {base: {}}\n"))
    plan = make_plan(load_sweep(path))
    beside = most_flops_text(plan.spec.searches[0], (), plan.tasks.keys())
    assert re.fullmatch(r"  Its 1 trial to come: at most \S+ FLOPs of sampling\.", beside)
    assert next(search_text(search, ())).startswith("Search of p: 1 trial by tpe")


def test_what_is_told_to_mlflow_names_search_trial_and_state(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, SAMPLING, num_trials="2"), store)
    driver.run()
    tags = driver.tracker.tags
    assert sorted(tag["dfm.trial"] for tag in tags.values()) == ["0", "1"]
    assert {(tag["dfm.search"], tag["dfm.trial_state"]) for tag in tags.values()} == {("p", "complete")}
    tasks = document(store)["tasks"]
    assert {tasks[digest]["kind"] for digest in tags} == {"evaluate"}  # the training is of both
    other = Driver(sweep(tmp_path, num_trials="2"), store)
    other.run()
    assert len(other.tracker.tags) == 4  # here each has its own


def test_a_storage_that_is_lost_stops_the_search_and_nothing_else(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = Driver(sweep(tmp_path, num_trials="3"), store)
    searches = driver.run()
    (found,) = searches._searches
    found.part = sweep(tmp_path, num_trials="9").searches[0]

    def lost() -> None:
        raise StudyUnavailableError("connection refused")

    monkeypatch.setattr(found.study, "ask", lost)
    searches.advance(driver.outcome, 1)
    assert searches.problems == ["connection refused"]
    monkeypatch.undo()
    assert searches.advance(driver.outcome, 1) is not None
    assert searches.problems == []


class Meddling(Driver, ABC):
    """A driver beside which a person does something in Optuna's dashboard at the second evaluation."""

    @abstractmethod
    def meddle(self, storage: optuna.storages.RDBStorage, studies: list[optuna.Study]) -> None:
        """Do it."""

    def compute(self, task: Any) -> None:
        if task.kind == "evaluate" and kinds(self).count("evaluate") == 1:
            storage = optuna.storages.RDBStorage(f"sqlite:///{self.store.root}/search.db")
            names = optuna.get_all_study_names(storage)
            self.meddle(storage, [optuna.load_study(study_name=name, storage=storage) for name in names])
            storage.engine.dispose()
        super().compute(task)


@pytest.mark.parametrize(("value", "state"), [(None, "failed"), (3.25, "complete")])
@pytest.mark.parametrize("search", [{}, PRUNED], ids=["plain", "pruned"])
def test_a_trial_that_a_person_ends_is_taken_so_and_said_and_the_search_goes_on(
    tmp_path: Path, store: Store, value: float | None, state: str, search: Mapping[str, str]
) -> None:
    class Ending(Meddling):
        def meddle(self, _: object, studies: list[optuna.Study]) -> None:
            (running,) = studies[0].get_trials(states=(optuna.trial.TrialState.RUNNING,))
            end = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
            studies[0].tell(running.number, value, state=end)

    driver = Ending(sweep(tmp_path, num_trials="4", **search), store)
    trials = told(driver.run())
    assert len(trials) == 4
    (ended,) = [trial for trial in trials if trial.reason]
    assert (ended.state, ended.values) == (state, () if value is None else (value,))
    line = f"p {ended.label}: {state}{'' if value is None else ' 3.25'} somebody told Optuna so"
    assert driver.said.count(line) == 1
    again = Driver(driver.spec, store)
    assert told(again.run()) == trials
    assert again.computed == []


@pytest.mark.parametrize(("two_levels", "at"), [(False, 0), (True, 0), (True, -1)], ids=["plain", "outer", "inner"])
def test_a_deleted_study_ends_its_search_with_one_message_and_the_others_go_on(
    tmp_path: Path, store: Store, two_levels: bool, at: int
) -> None:
    class Deleting(Meddling):
        def meddle(self, storage: optuna.storages.RDBStorage, studies: list[optuna.Study]) -> None:
            others = [
                study.study_name for study in studies if study.study_name != f"dfm-{self.spec.searches[0].digest}"
            ]
            optuna.delete_study(study_name=others[at], storage=storage)

    inner = "{num_trials: 3, space: {sampling.tau: {uniform: [0.5, 0.95]}}}"
    outer = "\n        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"
    sweep(tmp_path, num_trials="4", **({"space": outer, "inner": inner} if two_levels else {}))
    other = f"num_trials: 3, objectives: {{{METRIC}: minimize}}, space: {{sampling.tau: {{uniform: [0.5, 0.9]}}}}"
    path = tmp_path / "sweep.yaml"
    path.write_text(path.read_text().replace("parts:", f"parts:\n  q:\n    search: {{{other}}}"))
    driver = Deleting(load_sweep(path), store, slots=4)
    searches = driver.run()
    p, q = searches.trials()["p"], searches.trials()["q"]
    assert "failed" in {trial.state for trial in p} <= {"complete", "failed"}
    assert [trial.state for trial in q] == ["complete"] * 3
    (problem,) = searches.problems
    assert problem.startswith("p: study dfm-")
    assert "is no longer in" in problem
    assert driver.said.count(f"{problem}.") == 1
    wanted = {digest for cell in searches.plan.trials for _, digest in cell.evaluations}
    assert wanted <= driver.outcome.done.keys(), "what is in the table is computed"
    again = Driver(driver.spec, store)
    assert {trial.state for trial in again.run().trials()["p"]} == {"complete"}
    assert not set(again.computed) & set(driver.computed)


def test_a_database_that_cannot_be_written_is_a_mistake_before_the_search_begins(tmp_path: Path, store: Store) -> None:
    spec = sweep(tmp_path, num_trials="2")
    Driver(spec, store).run()
    with closing(sqlite3.connect(f"{store.root}/search.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(UserError, match=r"search_storage: cannot use .*OperationalError: database is locked"):
            Driver(spec, store).run()


def test_trials_are_kept_beside_a_local_store_and_a_remote_one_needs_a_database(store: Store) -> None:
    assert search_storage(None, store, {}) == f"sqlite:///{store.root}/search.db"
    assert search_storage("postgresql://host/name", store, {}) == "postgresql://host/name"
    assert search_storage("sqlite:///here.db", store, {}) == f"sqlite:///{Path.cwd()}/here.db"
    odd = Store(f"{store.root}/a?b%2Fc")
    Path(odd.root).mkdir(parents=True)
    StudyDatabase(search_storage(None, odd, {}))
    assert Path(odd.path("search.db")).exists()
    with pytest.raises(UserError, match="give a database"):
        search_storage(None, Store("memory://bucket"), {})
    with pytest.raises(UserError, match="it would be thrown away"):
        search_storage("sqlite:///here.db", store, {JOB_VARIABLE: "x"})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("runs/search.db", "should be the URL of a database"),
        ("postgresql://me:secret@host/db", "should not hold a password"),
    ],
)
def test_a_storage_is_a_url_without_a_password(tmp_path: Path, given: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        sweep(tmp_path, part=f"search_storage: {given}\n")
    assert "secret" not in str(caught.value)
