"""Explorations by a real Tuner on a real cluster, held against the same ones in one thread."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.tune import Callback
from ray.util.state import list_actors

from orchestration.exploration import callbacks
from orchestration.exploration.exploration import Exploration
from orchestration.exploration.single_thread import SingleThreadExploration
from orchestration.exploration.trainable import NUMBER, TIME
from orchestration.exploration.trial_schedulers import make_rules
from orchestration.exploration.tuner import TunerExploration
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.store import Store
from tests.support.exploring import METRIC, Recorded, explored, recorded_calls, search_with, trials

pytestmark = pytest.mark.usefixtures("ray_here")


def wavy(number: int, rung: int) -> float:
    return math.sin(3.0 * number) - rung


@contextmanager
def tuner(search: SearchSpec, store: Store, before: list[SearchTrial] | None = None) -> Iterator[TunerExploration]:
    exploring = TunerExploration("a search", store, search, before or [])
    try:
        yield exploring
    finally:
        exploring.close()


def until(condition: Callable[[], bool], seconds: float = 180.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("kind", "count", "at_once"), [("none", 6, 6), ("asha", 8, 1), ("hyperband", 5, 5), ("pbt", 5, 5)]
)
def test_tuner_and_single_thread_end_with_the_same_trials(store: Store, kind: Any, count: int, at_once: int) -> None:
    search = search_with(kind, num_rungs=1)
    num_rungs = 0 if kind == "none" else 1
    with recorded_calls() as in_thread:
        expected = explored(SingleThreadExploration(search, []), trials(count), wavy, num_rungs, at_once)
    with recorded_calls() as by_tuner, tuner(search, store) as exploring:
        assert explored(exploring, trials(count), wavy, num_rungs, at_once) == expected
        exploring._thread.join(120)
        assert not exploring._thread.is_alive(), "it ends by itself once all its trials have"
    if at_once == 1:
        assert by_tuner == in_thread
    elif kind in ("hyperband", "pbt"):  # the last that reports goes on or ends, the others are paused before
        assert {call for call in by_tuner if "add" in call} == {call for call in in_thread if "add" in call}
    else:
        assert sorted(by_tuner) == sorted(in_thread)


def test_the_order_of_calls_is_that_of_bare_tune(store: Store) -> None:
    search, calls = search_with("asha", num_rungs=1), list[str]()

    def train(config: dict[str, Any]) -> None:
        for rung in range(2):
            value = math.sin(3.0 * config[NUMBER]) - rung
            tune.report({METRIC: value, TIME: 3.0**rung})

    tune.Tuner(
        tune.with_resources(train, {"CPU": 1}),
        param_space={NUMBER: tune.grid_search(list(range(4)))},
        tune_config=tune.TuneConfig(scheduler=Recorded(make_rules(search, {}), calls), max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=store.path("bare"), verbose=0),
    ).fit()
    with recorded_calls() as ours:
        explored(SingleThreadExploration(search, []), trials(4), wavy, 1, at_once=1)
    assert [call for call in calls if not call.startswith("add")] == [
        call for call in ours if not call.startswith("add")
    ]
    assert {call for call in calls if call.startswith("add")} == {f"add {number}" for number in range(4)}


def pids() -> set[int]:
    address = ray.get_runtime_context().gcs_address
    actors = list_actors(address, filters=[("state", "=", "ALIVE")], detail=True)
    return {actor.pid for actor in actors if "ImplicitFunc" in actor.class_name}


def test_a_trial_whose_process_is_killed_goes_on_after_its_last_rung(store: Store) -> None:
    (trial,) = trials(1)
    before = pids()
    with recorded_calls() as calls, tuner(search_with("asha"), store) as exploring:
        exploring.add(trial)
        exploring.seal()
        until(lambda: exploring.decide(trial, 0, 5.0) is not None)
        (pid,) = pids() - before
        os.kill(pid, signal.SIGKILL)
        there = replace(trial, at_rungs={0: 5.0})
        until(lambda: exploring.decide(there, 1, 4.0) is not None)
        exploring.end(replace(there, at_rungs={0: 5.0, 1: 4.0}, state="complete", values=(3.0,)))
        exploring._thread.join(120)
        assert not exploring.failure
    assert [call for call in calls if "result" in call] == [
        "result 0 at 1: CONTINUE",
        "result 0 at 3: CONTINUE",
        "result 0 at 9: STOP",
    ]


def test_closing_in_the_middle_leaves_no_process_and_no_thread(store: Store) -> None:
    before = pids()
    with tuner(search_with("asha"), store) as exploring:
        for trial in trials(2):
            exploring.add(trial)
        until(lambda: len(pids() - before) == 2)
    until(lambda: not pids() - before)
    until(lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("tuner of")])


class _Broken(Callback):  # type: ignore[misc]
    def on_trial_result(self, **_: Any) -> None:
        raise ValueError("no such place")


def test_a_callback_that_fails_is_the_reason_of_the_failure(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(callbacks._CALLBACKS, "csv", _Broken)
    search = search_with("none")
    search = replace(search, config=replace(search.config, callbacks=("csv",)))
    with tuner(search, store) as exploring:
        (trial,) = trials(1)
        exploring.add(trial)
        exploring.end(replace(trial, state="complete", values=(1.0,)))
        until(lambda: exploring.failure != "")
        assert "no such place" in exploring.failure


def test_files_of_callbacks_stand_under_the_storage_root(store: Store) -> None:
    search = search_with("none")
    search = replace(search, config=replace(search.config, callbacks=("csv",)))
    with tuner(search, store) as exploring:
        explored(exploring, trials(2), wavy, 0)
        exploring._thread.join(120)
    rows = Path(store.path("ray-tune/a search/trial-1/progress.csv")).read_text().splitlines()
    assert rows[0].split(",")[:2] == [METRIC, TIME]
    assert float(rows[1].split(",")[0]) == wavy(1, 0)


def test_an_exploration_takes_up_what_was_decided_before(store: Store) -> None:
    def verdict(exploring: Exploration) -> bool | None:
        (trial,) = [trial for trial in before if trial.state == "running"]
        until(lambda: exploring.decide(trial, 1, 10.0) is not None)
        return exploring.decide(trial, 1, 10.0)

    before = [
        SearchTrial(0, {}, "complete", (1.0,), at_rungs={0: 3.0, 1: 2.0}),
        SearchTrial(1, {}, "pruned", at_rungs={0: 9.0}),
        SearchTrial(2, {}, "running", at_rungs={0: 2.0}),
    ]
    assert verdict(SingleThreadExploration(search_with("asha"), before)) is False
    with tuner(search_with("asha"), store, before) as exploring:
        assert verdict(exploring) is False
