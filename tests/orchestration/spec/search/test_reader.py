"""`search:` in a sweep file, read with every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.searches import METRIC
from tests.support.searches import search_mistakes as mistakes


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("objectives", f"{{{METRIC}: minimise}}", "did you mean 'minimize'?"),
        ("sampler", "tep", "did you mean 'tpe'?"),
        ("num_trials", "0", "0 should be greater than or equal to 1"),
        ("constraints", "{num_evaluations: {atmost: 4}}", "did you mean 'at_most'?"),
        ("pruner", "{kind: hyperband, rungs: [100]}", "none, median, asha; hyperband is a trial_scheduler.kind"),
        ("pruner", "{kind: ASHA, rungs: [100]}", "'ASHA' is not allowed; did you mean 'asha'?"),
        ("pruner", "{kind: asha, grace_period: 100}", "unknown key; did you mean 'rungs'?"),
        ("trial_scheduler", "{kind: asha, grace_period: 100}", "unknown key; did you mean 'first'?"),
        ("sampler", "TPE", "did you mean 'tpe'?"),
        ("sampler", "hyperopt", "hyperopt is a searcher of Ray Tune: give it as searcher"),
        ("inner", "{num_trials: 8}", "inner.space: must be a mapping of at least one key"),
        ("inner", "{num_trials: 8, space: {training.batch_size: {int: [1, 8]}}}", "belongs to the outer space"),
        ("pruner", "{kind: asha, rungs: [10], rungs_in: epochs}", "rungs_in"),
        ("samplr", "tpe", "did you mean 'sampler'?"),
        ("inner", "{num_trials: 8, sampler: grid, space: {sampling.tau: {uniform: [0.5, 0.9]}}}", "a grid needs"),
    ],
)
def test_a_mistake_in_a_search_is_told_with_its_reason(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert expected in mistakes(tmp_path, **{key: value})


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    space = "\n        sampling.tua: {uniform: [0.5, 0.9]}\n        training.learning_rate: {log: [0, 1]}"
    text = mistakes(tmp_path, space, num_trials="-1", pruner="{kind: asah}")
    for expected in ("sampling.tua", "log: [0, 1]", "num_trials: -1", "'asah' is not allowed"):
        assert expected in text
