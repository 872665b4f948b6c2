"""Rules that span the keys of a `search:`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.searches import METRIC, sweep
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
    ],
)
def test_a_mistake_in_a_search_is_told_with_its_reason(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert expected in mistakes(tmp_path, **{key: value})


def test_a_limit_on_a_metric_is_refused_where_it_would_not_be_heeded(tmp_path: Path) -> None:
    limit = {"constraints": "{label_accuracy: {at_least: 0.5}}"}
    assert sweep(tmp_path, sampler="tpe", **limit).searches
    assert "heeded by tpe and nsga2 alone, not by random" in mistakes(tmp_path, sampler="random", **limit)
