"""Searchers of Ray Tune as a search uses them: resumed as if they had not been interrupted."""

from __future__ import annotations

from typing import Any

import pytest
from ray.tune.search import Searcher

from orchestration.exploration import searchers
from orchestration.exploration.searchers import TuneSearcher
from orchestration.spec.search.section import SearchConfig, SearchSpec
from orchestration.spec.search.space import Parameter
from orchestration.spec.search.trial import SearchTrial
from tests.support.exploring import METRIC

RANGES = (Parameter("sampling.tau", "uniform", 0.0, 1.0), Parameter("training.ema_decay", "uniform", 0.9, 0.999))
MIXED = (
    Parameter("sampling.tau", "uniform", 0.5, 0.9, 0.1),
    Parameter("training.learning_rate", "log", 1e-4, 1e-2),
    Parameter("sampling.steps", "choice", choices=("[9, 3]", "[6, 6]")),
    Parameter("model.lora_rank", "int", 0, 8, 4),
)


def search_by(name: str, parameters: tuple[Parameter, ...] = MIXED) -> SearchSpec:
    return SearchSpec(SearchConfig({METRIC: "minimize"}, 100, searcher=name), parameters)


def run(search: SearchSpec, count: int, before: list[SearchTrial]) -> list[SearchTrial]:
    """Trials whose value is best at tau 0.7. Args: before: with which the searcher is opened."""
    searcher, trials = TuneSearcher(search, before), list(before)
    for number in range(len(before), count):
        settings = searcher.suggest(number)
        assert settings is not None
        trial = SearchTrial(number, settings, "complete", (abs(settings["sampling.tau"] - 0.7),))
        searcher.tell(trial)
        trials.append(trial)
    return trials


@pytest.mark.parametrize(("name", "parameters"), [("bayesopt", RANGES), ("nevergrad", RANGES), ("nevergrad", MIXED)])
def test_a_resumed_searcher_proposes_what_the_uninterrupted_one_would(
    name: str, parameters: tuple[Parameter, ...]
) -> None:
    search = search_by(name, parameters)
    whole = run(search, 14, [])
    assert run(search, 14, run(search, 6, [])) == whole
    assert len({trial.settings["sampling.tau"] for trial in whole}) > 1


def test_proposals_are_values_that_a_row_may_hold() -> None:
    taus, steps = set(), set()
    for trial in run(search_by("nevergrad"), 30, []):
        assert list(trial.settings) == [parameter.key for parameter in MIXED]
        assert 1e-4 <= trial.settings["training.learning_rate"] <= 1e-2
        assert trial.settings["model.lora_rank"] in (0, 4, 8)
        assert isinstance(trial.settings["model.lora_rank"], int)
        taus.add(trial.settings["sampling.tau"])
        steps.add(str(trial.settings["sampling.steps"]))
    assert taus <= {0.5, 0.6, 0.7, 0.8, 0.9}
    assert steps == {"[9, 3]", "[6, 6]"}


class Noting(Searcher):  # type: ignore[misc]
    """Writes down its calls; proposes three trials."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def suggest(self, trial_id: str) -> Any:
        self.calls.append(f"suggest {trial_id}")
        return {"sampling.tau": int(trial_id) / 10} if int(trial_id) < 3 else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self.calls.append(f"result {trial_id} {result[METRIC]:g}")

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        value = f"{result[METRIC]:g}" if result else "none"
        self.calls.append(f"complete {trial_id} {value}{' error' if error else ''}")


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> Noting:
    searcher = Noting()
    monkeypatch.setitem(searchers._MAKERS, "nevergrad", lambda *_: searcher)
    return searcher


def test_a_searcher_hears_of_rungs_and_ends_once_each(noting: Noting) -> None:
    searcher = TuneSearcher(search_by("nevergrad", RANGES[:1]), [])
    for number in range(3):
        searcher.suggest(number)
    running = SearchTrial(0, {"sampling.tau": 0.0}, at_rungs={0: 5.0})
    searcher.tell(running)
    searcher.tell(SearchTrial(0, {"sampling.tau": 0.0}, "complete", (3.0,), at_rungs={0: 5.0, 1: 4.0}))
    searcher.tell(SearchTrial(1, {"sampling.tau": 0.1}, "pruned", at_rungs={0: 9.0}))
    searcher.tell(SearchTrial(2, {"sampling.tau": 0.2}, "failed", reason="a node was lost"))
    assert searcher.suggest(3) is None
    assert searcher.is_exhausted
    expected = ["suggest 0", "suggest 1", "suggest 2", "result 0 5", "result 0 4", "result 0 3", "complete 0 3"]
    assert noting.calls == [*expected, "complete 1 9", "complete 2 none error", "suggest 3"]


def test_a_searcher_does_not_hear_of_what_it_would_not_propose_any_more(noting: Noting) -> None:
    TuneSearcher(search_by("nevergrad", RANGES[:1]), [SearchTrial(0, {"sampling.tau": 0.55}, "complete", (1.0,))])
    assert noting.calls == ["suggest 0"]
