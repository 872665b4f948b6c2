"""Explorations with values from a script instead of a launcher, and the calls that a trial scheduler gets meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler

from orchestration.exploration import exploration
from orchestration.exploration.exploration import Exploration
from orchestration.exploration.trainable import NUMBER, TIME
from orchestration.exploration.trial_schedulers import make_rules
from orchestration.spec.search.section import SchedulerKind, SearchConfig, SearchSpec, TrialSchedulerConfig
from orchestration.spec.search.trial import SearchTrial

METRIC = "fd_lite0_block10"
Values = Callable[[int, int], float]
"""(number of a trial, rung) -> value of the objective."""


def search_with(kind: SchedulerKind, eta: int = 3, num_rungs: int = 2, startup: int = 3) -> SearchSpec:
    scheduler = TrialSchedulerConfig(kind, 0.0 if kind == "none" else 100.0, num_rungs, eta, startup=startup)
    return SearchSpec(SearchConfig({METRIC: "minimize"}, 100, trial_scheduler=scheduler), ())


def trials(count: int) -> list[SearchTrial]:
    return [SearchTrial(number, {"sampling.tau": 0.5 + number / 1000}) for number in range(count)]


def explored(
    exploring: Exploration, proposed: Sequence[SearchTrial], value: Values, num_rungs: int, at_once: int = 10**9
) -> list[SearchTrial]:
    """The trials as they ended. Args: at_once: trials to run at the same time."""
    waiting, running, ended = list(proposed), dict[int, SearchTrial](), dict[int, SearchTrial]()
    while waiting or running:
        while waiting and len(running) < at_once:
            exploring.add(trial := waiting.pop(0))
            running[trial.number] = trial
        if not waiting:
            exploring.seal()
        for number, trial in list(running.items()):
            now = _after_a_rung(exploring, trial, value, num_rungs)
            running[number] = now
            if now.state != "running":
                exploring.end(now)
                ended[number] = running.pop(number)
        assert not exploring.failure
        exploring.wait(0.05)
    return [ended[number] for number in sorted(ended)]


def _after_a_rung(exploring: Exploration, trial: SearchTrial, value: Values, num_rungs: int) -> SearchTrial:
    rung = len(trial.at_rungs)
    if rung == num_rungs:
        return replace(trial, state="complete", values=(value(trial.number, rung),))
    verdict = exploring.decide(trial, rung, value(trial.number, rung))
    if verdict is None:
        return trial
    there = replace(trial, at_rungs={**trial.at_rungs, rung: value(trial.number, rung)})
    return there if verdict else replace(there, state="pruned")


class Recorded(TrialScheduler):
    """Rules whose calls are written down."""

    def __init__(self, rules: Any, calls: list[str]) -> None:
        super().__init__()
        self._rules, self.calls = rules, calls

    def __getstate__(self) -> dict[str, Any]:
        return {}

    @property
    def metric(self) -> Any:
        return self._rules.metric

    def set_search_properties(self, *args: Any, **spec: Any) -> Any:
        return self._rules.set_search_properties(*args, **spec)

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        self.calls.append(f"add {trial.config[NUMBER]}")
        self._rules.on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> Any:
        decision = self._rules.on_trial_result(tune_controller, trial, result)
        self.calls.append(f"result {trial.config[NUMBER]} at {result[TIME]:g}: {decision}")
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: Mapping[str, Any]) -> None:
        self.calls.append(f"complete {trial.config[NUMBER]} at {result[TIME]:g}")
        self._rules.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.calls.append(f"error {trial.config[NUMBER]}")
        self._rules.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self.calls.append(f"remove {trial.config[NUMBER]}")
        self._rules.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        return self._rules.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return "recorded"


@contextmanager
def recorded_calls() -> Iterator[list[str]]:
    """The calls that the trial schedulers of explorations get that begin in the block."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exploration, "make_rules", lambda search, members: Recorded(make_rules(search, members), calls))
        yield calls
