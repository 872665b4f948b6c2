"""Searches whose trials Ray Tune's searchers propose and its trial schedulers stop, on a made-up evaluation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from orchestration.common.errors import UserError
from orchestration.exploration import searchers
from orchestration.exploration.single_thread import SingleThreadExploration
from orchestration.exploration.trainable import RungAnswer
from orchestration.exploration.tuner import TunerExploration
from orchestration.search.searches import Searches
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.store import Store
from tests.support.searches import Driver, Killed, sweep, told

UNEQUAL = "compute: {allow_unequal: true}\n"


def scheduled(kind: str) -> dict[str, str]:
    return {"trial_scheduler": f"{{kind: {kind}, first: 50, eta: 3, num_rungs: 2, startup: 2}}", "part": UNEQUAL}


RATES = """
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}
        training.location: {uniform: [-1.0, 1.0], step: 0.25}"""
SEARCHES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "asha": ("8", scheduled("asha")),
    "median": ("8", scheduled("median")),
    "hyperband": ("20", scheduled("hyperband")),
    "pbt": ("6", {"space": RATES, "sampler": "random", "trial_scheduler": "{kind: pbt, first: 100, num_rungs: 3}"}),
    "nevergrad": ("8", {"sampler": None, "searcher": "nevergrad"}),
    "both": ("8", {"sampler": None, "searcher": "nevergrad", **scheduled("asha")}),
}


@pytest.mark.parametrize("kill_at", [0.1, 0.5, 0.75])
@pytest.mark.parametrize("name", SEARCHES)
def test_a_killed_and_resumed_search_under_tune_is_the_uninterrupted_one(
    tmp_path: Path, name: str, kill_at: float
) -> None:
    num_trials, keys = SEARCHES[name]
    spec = sweep(tmp_path, num_trials=num_trials, **keys)
    whole = Driver(spec, Store(str(tmp_path / "whole")))
    expected = told(whole.run())
    store = Store(str(tmp_path / "cut"))
    cut = Driver(spec, store, kill_after=int(kill_at * len(whole.computed)))
    with pytest.raises(Killed):
        cut.run()
    resumed = Driver(spec, store)
    assert told(resumed.run()) == expected
    assert cut.computed + resumed.computed == whole.computed  # no rung twice, nothing else, in the same order
    states = {trial.state for trial in expected}
    assert states == ({"complete"} if name in ("nevergrad", "pbt") else {"complete", "pruned"})


@pytest.mark.parametrize("name", ["asha", "median", "hyperband", "pbt"])
def test_with_several_at_once_no_decision_changes_after_a_kill(tmp_path: Path, name: str) -> None:
    num_trials, keys = SEARCHES[name]
    spec = sweep(tmp_path, num_trials=num_trials, **keys)
    store = Store(str(tmp_path / "cut"))
    cut = Driver(spec, store, slots=3, kill_after=14)
    with pytest.raises(Killed):
        cut.run()
    published = {trial.number: trial for trial in SearchesOf(spec, store).trials()}
    resumed = Driver(spec, store, slots=3)
    ended = {trial.number: trial for trial in told(resumed.run())}
    for number, before in published.items():
        assert before.at_rungs.items() <= ended[number].at_rungs.items()
        if before.state != "running":
            assert ended[number] == before


class SearchesOf:
    """The trials of a stored search, as its study has them."""

    def __init__(self, spec: Any, store: Store) -> None:
        self._driver = Driver(spec, store, kill_after=0)

    def trials(self) -> list[SearchTrial]:
        kept: list[Searches] = []
        with pytest.MonkeyPatch.context() as patch:
            begin = Searches.begin
            patch.setattr(Searches, "begin", lambda self, outcome: (kept.append(self), begin(self, outcome)))
            with pytest.raises(Killed):
                self._driver.run()
        return told(kept[0])


def test_hyperband_proposes_a_whole_band_before_it_computes(tmp_path: Path, store: Store) -> None:
    at_first: list[int] = []

    class Watching(Driver):
        def compute(self, task: Any) -> None:
            if not self.computed:
                at_first.append(self.store.read("plans/searched.json").decode().count('"state": "running"'))
            super().compute(task)

    trials = told(Watching(sweep(tmp_path, num_trials="20", **scheduled("hyperband")), store).run())
    assert at_first == [17]  # brackets of 3, 5 and 9
    complete = [trial.number for trial in trials if trial.state == "complete"]
    assert len(complete) == 3 + 2 + 1 + 3


def test_a_searcher_that_fails_ends_its_search_alone_and_says_why(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def suggest(self, trial_id: str) -> dict[str, float]:
            if trial_id == "2":
                raise RuntimeError("singular matrix")
            return {"sampling.tau": 0.6 + int(trial_id) / 10}

        def on_trial_result(self, *_: Any) -> None: ...

        def on_trial_complete(self, *_: Any, **__: Any) -> None: ...

    monkeypatch.setitem(searchers._MAKERS, "nevergrad", lambda *_: Broken())
    tau = "\n        sampling.tau: {uniform: [0.5, 0.95]}"
    searches = Driver(sweep(tmp_path, tau, sampler=None, searcher="nevergrad"), store).run()
    assert [trial.state for trial in told(searches)] == ["complete", "complete"]
    (problem,) = searches.problems
    assert problem == "p: the searcher nevergrad failed (RuntimeError: singular matrix); submit it with another"


def test_a_searcher_that_cannot_be_opened_is_the_mistake_and_not_the_storage(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no licence")

    monkeypatch.setitem(searchers._MAKERS, "nevergrad", broken)
    driver = Driver(sweep(tmp_path, sampler=None, searcher="nevergrad"), store)
    with pytest.raises(UserError, match=r"^searcher: the searcher nevergrad failed \(RuntimeError: no licence\)"):
        driver.run()


class OnRay(Driver):
    """A driver whose searches Ray Tune explores."""

    explorations: list[TunerExploration]

    def run(self) -> Searches:
        self.explorations = []
        return super().run()

    @contextmanager
    def connected(self, searches: Searches) -> Iterator[None]:
        tell = TunerExploration._answer

        def noted(exploration: TunerExploration, number: int, answer: RungAnswer) -> None:
            if exploration not in self.explorations:
                self.explorations.append(exploration)
            tell(exploration, number, answer)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TunerExploration, "_answer", noted)
            with searches.on_ray():
                yield


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize("name", ["asha", "nevergrad", "pbt"])
def test_a_search_on_ray_ends_as_one_in_a_single_thread(tmp_path: Path, name: str) -> None:
    num_trials, keys = SEARCHES[name]
    spec = sweep(tmp_path, num_trials=num_trials, **keys)
    expected = told(Driver(spec, Store(str(tmp_path / "thread"))).run())
    driver = OnRay(spec, Store(str(tmp_path / "ray")))
    assert told(driver.run()) == expected
    assert len(driver.explorations) == 1


@pytest.mark.usefixtures("ray_here")
def test_a_lost_tuner_is_begun_anew_and_the_search_ends_the_same(tmp_path: Path) -> None:
    num_trials, keys = SEARCHES["asha"]
    spec = sweep(tmp_path, num_trials=num_trials, **keys)
    expected = told(Driver(spec, Store(str(tmp_path / "thread"))).run())

    class Losing(OnRay):
        def compute(self, task: Any) -> None:
            if len(self.computed) in (6, 12):
                self.explorations[-1]._error = "its thread was killed"
            super().compute(task)

    driver = Losing(spec, Store(str(tmp_path / "ray")))
    assert told(driver.run()) == expected
    assert len(driver.explorations) == 3


@pytest.mark.usefixtures("ray_here")
def test_both_levels_of_a_search_on_ray_end_as_in_a_single_thread(tmp_path: Path) -> None:
    outer = "\n        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"
    inner = "{num_trials: 2, space: {sampling.tau: {uniform: [0.5, 0.9]}}}"
    spec = sweep(tmp_path, outer, num_trials="3", inner=inner)
    expected = told(Driver(spec, Store(str(tmp_path / "thread"))).run())
    driver = OnRay(spec, Store(str(tmp_path / "ray")))
    assert told(driver.run()) == expected
    assert len(driver.explorations) == 1


def test_no_trial_takes_the_place_of_one_whose_verdict_is_on_its_way(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[tuple[int, int]] = Counter()
    decide = SingleThreadExploration.decide

    def late(self: SingleThreadExploration, trial: SearchTrial, rung: int, value: float) -> bool | None:
        asked[trial.number, rung] += 1
        return decide(self, trial, rung, value) if asked[trial.number, rung] > 2 else None

    at_once: set[int] = set()

    class Watching(Driver):
        def publish(self, plan: Any) -> None:
            super().publish(plan)
            at_once.add(self.store.read("plans/searched.json").decode().count('"state": "running"'))

    num_trials, keys = SEARCHES["asha"]
    spec = sweep(tmp_path, num_trials=num_trials, **keys)
    expected = told(Driver(spec, Store(str(tmp_path / "prompt"))).run())
    monkeypatch.setattr(SingleThreadExploration, "decide", late)
    assert told(Watching(spec, store).run()) == expected
    assert at_once == {0, 1}
