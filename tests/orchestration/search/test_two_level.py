"""Searches in two levels: trainings outside, samplings of their snapshots inside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from orchestration.control.outcome import Outcome
from orchestration.plan.plan import make_plan
from orchestration.search.optuna_study import Study
from orchestration.search.plan_rows import published_trials, with_published_trials
from orchestration.search.study_storage import StudyUnavailableError
from orchestration.search.summary import most_flops_text, search_text
from orchestration.spec.search.pruning import rung_steps
from orchestration.spec.search.section import PrunerConfig
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from tests.orchestration.search.test_searches import PRUNED, document, kinds
from tests.support.searches import METRIC, Driver, Killed, smooth, sweep, told

OUTER = """
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"""
INNER = {"inner": "{num_trials: 3, space: {sampling.tau: {uniform: [0.5, 0.95]}}}", "num_trials": "4"}


def of_training(trials: list[Any], rate: float) -> list[Any]:
    return [trial for trial in trials if trial.settings["training.learning_rate"] == rate]


def test_each_training_is_sampled_by_a_search_of_its_own_and_is_worth_its_best(tmp_path: Path, store: Store) -> None:
    driver = Driver(sweep(tmp_path, OUTER, **INNER), store)
    searches = driver.run()
    trials = told(searches)
    assert [trial.name for trial in trials] == [f"{outer}.{inner}" for outer in range(4) for inner in range(3)]
    assert kinds(driver).count("train") == 4
    assert kinds(driver).count("evaluate") == 12
    rates = {trial.settings["training.learning_rate"] for trial in trials}
    assert len(rates) == 4
    (state,) = searches._searches
    for outer in state._outer.values():  # type: ignore[union-attr]
        rate = outer.settings["training.learning_rate"]
        inner = of_training(trials, rate)
        assert len({trial.settings["sampling.tau"] for trial in inner}) == 3
        best = min(10 * (abs(t.settings["sampling.tau"] - 0.7) + 0.1 * abs(math.log10(rate) + 3)) for t in inner)
        assert outer.values == (pytest.approx(best + 100 / 700),)
    labels = [row["label"] for row in document(store)["parts"][0]["rows"]]
    ranked = sorted(trials, key=lambda trial: trial.values)
    assert labels == [trial.label for trial in ranked]
    assert labels[0].startswith(f"trial {ranked[0].name}: learning_rate=")


@pytest.mark.parametrize("kill_after", [1, 4, 5, 6, 9])
def test_a_search_of_two_levels_that_is_killed_ends_as_if_it_had_not_been(tmp_path: Path, kill_after: int) -> None:
    whole, cut = Store(str(tmp_path / "whole")), Store(str(tmp_path / "cut"))
    expected = told(Driver(sweep(tmp_path, OUTER, **INNER), whole).run())
    with pytest.raises(Killed):
        Driver(sweep(tmp_path, OUTER, **INNER), cut, kill_after=kill_after).run()
    again = Driver(sweep(tmp_path, OUTER, **INNER), cut)
    assert told(again.run()) == expected
    last = Driver(sweep(tmp_path, OUTER, **INNER), cut)
    assert told(last.run()) == expected
    assert last.computed == []


def test_a_database_that_is_away_when_an_inner_study_is_opened_is_asked_again(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    real = Study.__init__

    def away_at_first(self: Study, *given: Any) -> None:
        opened.append(given[1])
        if len(opened) == 2:
            raise StudyUnavailableError("connection refused")
        real(self, *given)

    monkeypatch.setattr(Study, "__init__", away_at_first)
    searches = Driver(sweep(tmp_path, OUTER, **INNER), store).run()
    assert searches.problems == ["connection refused"]
    assert searches.advance(Outcome({}), 1) is not None
    assert searches.problems == []
    assert opened[1] == opened[2]
    assert [trial.name for trial in told(searches)] == ["0.0"]


def test_a_failed_training_is_not_sampled_and_the_next_submission_tries_again(tmp_path: Path, store: Store) -> None:
    failing = Driver(sweep(tmp_path, OUTER, **INNER), store, fails={"train": "no room"})
    trials = told(failing.run())
    assert {trial.state for trial in trials} == {"failed"}
    assert kinds(failing).count("train") == 4
    again = told(Driver(sweep(tmp_path, OUTER, **INNER), store).run())
    assert [trial.state for trial in again] == ["complete"] * 12
    assert {t.settings["training.learning_rate"] for t in again} == {
        t.settings["training.learning_rate"] for t in trials
    }


def test_a_limit_holds_for_what_a_training_is_worth(tmp_path: Path, store: Store) -> None:
    inner = "{num_trials: 4, sampler: grid, space: {sampling.steps: {choice: [[9, 3], [6, 6], [3, 3], [2, 2]]}}}"
    limits = "{num_evaluations: {at_most: 12}}"
    trials = told(Driver(sweep(tmp_path, OUTER, inner=inner, num_trials="2", constraints=limits), store).run())
    steps = {str(trial.settings["sampling.steps"]) for trial in trials if trial.state == "complete"}
    assert steps == {"[3, 3]", "[2, 2]"}  # guidance doubles the others beyond the limit
    assert [trial.state for trial in trials].count("refused") == 4


def test_plan_and_texts_know_the_published_trials_of_both_levels(tmp_path: Path, store: Store) -> None:
    spec = sweep(tmp_path, OUTER, **INNER)
    trials = told(Driver(spec, store).run())
    published = published_trials(spec, store)
    assert published["p"] == trials
    rows = with_published_trials(spec, published).parts[0].rows
    assert {row.label for row in rows} == {trial.label for trial in trials}
    assert len(make_plan(with_published_trials(spec, published)).of_kind(TrainTask)) == 4
    (search,) = spec.searches
    lines = list(search_text(search, trials))
    assert "  For each, 3 samplings of its snapshot by tpe; the best counts:" in lines
    assert lines[-2].startswith("  Leading: trial ")
    assert most_flops_text(search, trials) == "  All its trials are proposed."
    assert "Its 12 trials to come" in most_flops_text(search, [])


def test_more_samplings_are_another_search_that_knows_what_was_measured(tmp_path: Path, store: Store) -> None:
    Driver(sweep(tmp_path, OUTER, **INNER), store).run()
    more = {**INNER, "inner": "{num_trials: 4, space: {sampling.tau: {uniform: [0.5, 0.95]}}}"}
    driver = Driver(sweep(tmp_path, OUTER, **more), store)
    trials = told(driver.run())
    assert len(trials) == 16
    assert kinds(driver).count("train") == 0


def test_rungs_in_images_and_flops_are_steps_of_each_trial(tmp_path: Path) -> None:
    config = next(sweep(tmp_path).configs)
    batch = config.training.batch_size
    assert rung_steps(PrunerConfig("asha", (100, 350)), config) == (100, 350)
    assert rung_steps(PrunerConfig("asha", (batch * 7, batch * 7 + 1), "images"), config) == (7, 8)
    from dfm_core.catalog.datasets import DATASETS
    from dfm_core.compute import model_cost, training_flops

    flops = training_flops(config, model_cost(config, DATASETS[config.data.dataset].shape), 10)
    assert rung_steps(PrunerConfig("asha", (float(flops), flops * 1.01), "flops"), config) == (10, 11)


def test_trials_of_other_batch_sizes_are_compared_at_the_same_number_of_images(tmp_path: Path, store: Store) -> None:
    space = """
        training.batch_size: {choice: [16, 32]}
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"""
    pruner = "{kind: median, rungs: [1600], rungs_in: images, startup: 1}"
    driver = Driver(sweep(tmp_path, space, **{**PRUNED, "pruner": pruner}, num_trials="8"), store, score=smooth)
    trials = told(driver.run())
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    published = document(store)
    trained = {entry["row"]: published["tasks"][entry["train"]]["until_step"] for entry in published["trials"]}
    assert {trained[trial.label] * trial.settings["training.batch_size"] for trial in pruned} == {1600}
    assert METRIC in published["parts"][0]["search"]["objectives"]
