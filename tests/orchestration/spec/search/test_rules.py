"""Rules that span the keys of a `search:`."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.spec.search.section import TUNE_SEARCHERS
from orchestration.spec.search.trial import SearchTrial
from tests.support.searches import METRIC, SPACE, sweep
from tests.support.searches import search_mistakes as mistakes


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("objectives", "{fd_lite_block10: minimize}", "did you mean 'fd_lite0_block10'?"),
        ("objectives", "{}", "0 objectives; 1 can be given"),
        ("objectives", f"{{{METRIC}: maximize}}", "'minimize' is the better direction"),
        ("objectives", "{num_evaluations: minimize}", "one of them must be a metric"),
        ("objectives", f"{{{METRIC}: minimize, num_evaluations: minimize}}", "two need `sampler: nsga2`"),
        ("sampler", "cmaes", "all of them ranges of numbers"),
        ("constraints", "{num_evaluations: {}}", "give at_most or at_least"),
        ("constraints", "{num_evaluation: {at_most: 4}}", "did you mean 'num_evaluations'?"),
        ("constraints", "{num_evaluations: {at_most: 4, at_least: 5}}", "nothing is at least 5 and at most 4"),
        ("pruner", "{rungs: [100]}", "are given without a kind"),
        ("inner", "{num_trials: 8, space: {sampling.tau: {uniform: [0.5, 0.9]}}}", "it belongs to inner.space"),
        ("sampler", "grid", "a grid needs a choice, whole numbers, or a range with a step"),
        ("pruner", "{kind: median}", "must be steps of training in ascending order"),
        ("pruner", "{kind: asha, rungs: [350, 100]}", "must be steps of training in ascending order"),
        ("pruner", "{kind: asha, rungs: [99.5]}", "must be whole numbers of steps"),
        ("trial_scheduler", "{first: 100}", "is given without a kind: asha, hyperband, median or pbt"),
        ("trial_scheduler", "{kind: asha}", "0 must be a number of steps, the first rung"),
        (
            "trial_scheduler",
            "{kind: bohb, first: 100}",
            "'bohb' is not allowed; allowed: none, asha, hyperband, median, pbt",
        ),
        ("searcher", "nevergrad", "cannot go with `sampler`: both propose"),
        ("callbacks", "[tensorbord]", "did you mean 'tensorboard'?"),
        ("callbacks", "[csv, os.system]", "known here: csv, json, tensorboard; a package may add others"),
    ],
)
def test_a_mistake_in_a_search_is_told_with_its_reason(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert expected in mistakes(tmp_path, **{key: value})


def test_a_limit_on_a_metric_is_refused_where_it_would_not_be_heeded(tmp_path: Path) -> None:
    limit = {"constraints": "{label_accuracy: {at_least: 0.5}}"}
    assert sweep(tmp_path, sampler="tpe", **limit).searches
    assert "heeded by tpe and nsga2 alone, not by random" in mistakes(tmp_path, sampler="random", **limit)


LADDERS = {"pruner": "{kind: asha, rungs: [100]}", "trial_scheduler": "{kind: median, first: 100}"}


@pytest.mark.parametrize("key", LADDERS)
def test_what_decides_at_rungs_needs_one_metric_and_equal_steps(tmp_path: Path, key: str) -> None:
    both = f"{{{METRIC}: minimize, num_evaluations: minimize}}"
    assert f"{key}: needs a single objective" in mistakes(
        tmp_path, sampler="nsga2", objectives=both, **{key: LADDERS[key]}
    )
    steps = "\n        training.steps: {int: [600, 700]}"
    assert f"{key}: cannot go with training.steps in the space" in mistakes(tmp_path, steps, **{key: LADDERS[key]})
    inner = "{num_trials: 8, space: {sampling.tau: {uniform: [0.5, 0.9]}}}"
    rate = "\n        training.learning_rate: {log: [1.0e-4, 1.0e-2]}"
    assert f"{key}: cannot go with `inner`" in mistakes(tmp_path, rate, inner=inner, **{key: LADDERS[key]})


def test_a_pruner_and_a_trial_scheduler_exclude_each_other(tmp_path: Path) -> None:
    assert "trial_scheduler: cannot go with `pruner`: both decide" in mistakes(tmp_path, **LADDERS)


def test_what_a_searcher_of_tune_cannot_do_is_a_mistake(tmp_path: Path) -> None:
    def told(space: str = SPACE, **search: str) -> str:
        return mistakes(tmp_path, space, sampler=None, **search)

    when = "\n        model.backbone: {choice: [dit, tokenformer]}"
    when += "\n        model.lora_rank: {int: [0, 8], step: 4, when: {model.backbone: dit}}"
    assert "space.model.lora_rank: `when` is for samplers" in told(when, searcher="nevergrad")
    assert "space.sampling.steps: bayesopt takes `uniform` ranges" in told(searcher="bayesopt")
    limit = "{label_accuracy: {at_least: 0.5}}"
    assert "heeded by tpe and nsga2 alone, not by nevergrad" in told(searcher="nevergrad", constraints=limit)
    assert "'my.module:Searcher' is not known" in told(searcher="my.module:Searcher")


def test_a_searcher_whose_package_is_missing_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TUNE_SEARCHERS, "nevergrad", "no_such_module")
    expected = "searcher: nevergrad needs the module no_such_module, which is not installed"
    assert expected in mistakes(tmp_path, sampler=None, searcher="nevergrad")


def test_a_trial_whose_last_rung_is_not_before_its_end_is_refused(tmp_path: Path) -> None:
    space = "\n        training.batch_size: {choice: [32, 64]}"
    ladder = {"trial_scheduler": "{kind: asha, first: 10000, num_rungs: 2, rungs_in: images}"}
    (search,) = sweep(tmp_path, space, part="compute: {allow_unequal: true}\n", **ladder).searches
    assert search.row(SearchTrial(0, {"training.batch_size": 64}))[0] is not None
    _, problems = search.row(SearchTrial(0, {"training.batch_size": 32}))
    (problem,) = problems
    assert problem.where.endswith("parts.p.search.trial_scheduler")
    assert problem.message == (
        "30000 images is not before the end, training.steps = 700: such a rung is never reached; give rungs before it"
    )


def test_identities_of_searches_without_tune_are_those_of_earlier_releases(tmp_path: Path) -> None:
    before = sweep(tmp_path).searches[0].about
    assert not {"trial_scheduler", "searcher", "callbacks"} & before.keys()
    assert sweep(tmp_path, callbacks="[csv]").searches[0].about == before, "callbacks change nothing"
    scheduled = sweep(tmp_path, trial_scheduler="{kind: asha, first: 100}").searches[0].about
    assert scheduled["trial_scheduler"]["kind"] == "asha"
    assert sweep(tmp_path, sampler=None, searcher="nevergrad").searches[0].about["searcher"] == "nevergrad"
