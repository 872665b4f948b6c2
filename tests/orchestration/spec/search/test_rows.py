"""Searches of a sweep: their identity, and what no proposal could be."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.spec.load import load_sweep
from tests.support.searches import SPACE, sweep
from tests.support.searches import search_mistakes as mistakes


def test_an_objective_that_no_evaluation_measures_is_refused(tmp_path: Path) -> None:
    assert "it is not in evaluation.metrics" in mistakes(tmp_path, objectives="{fd_lite0_head: minimize}")


def test_steps_that_follow_from_a_budget_cannot_be_searched(tmp_path: Path) -> None:
    space = "\n        training.steps: {int: [10, 20]}"
    assert "steps follow from compute.budget" in mistakes(tmp_path, space, part="compute: {budget: 1.0e+12}\n")


def test_the_same_search_in_two_parts_is_refused(tmp_path: Path) -> None:
    text = (tmp_path / "sweep.yaml") if sweep(tmp_path) else None
    assert text is not None
    search = text.read_text().split("  p:\n")[1]
    text.write_text(f"{text.read_text()}  q:\n{search}")
    with pytest.raises(UserError, match=r"parts\.q\.search: is the same search as that of p"):
        load_sweep(text)


def test_what_changes_a_search_changes_its_digest_and_the_number_of_trials_does_not(tmp_path: Path) -> None:
    def digest(space: str = SPACE, **search: str) -> str:
        return sweep(tmp_path, space, **search).searches[0].digest

    same = digest()
    assert digest(num_trials="99") == same
    others = [
        digest(sampler="random"),
        digest(seed="1"),
        digest(SPACE.replace("0.95", "0.950001")),
        digest(objectives="{label_accuracy: maximize}"),
        digest(part="seeds: [1]\n"),
        digest(part="training: {batch_size: 16}\n"),
    ]
    assert len({same, *others}) == 7
