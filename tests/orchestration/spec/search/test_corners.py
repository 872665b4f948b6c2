"""Searches of which no trial can be valid: told when the sweep is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.spec.search.corners import corners
from tests.support.searches import search_mistakes as mistakes
from tests.support.searches import sweep

STEPS = "\n        sampling.steps: {choice: [20, 40]}"


def test_choices_of_which_none_is_valid_are_told_one_by_one(tmp_path: Path) -> None:
    told = mistakes(tmp_path, STEPS).splitlines()
    place = f"{tmp_path}/sweep.yaml: parts.p.search.space.sampling.steps"
    assert told == [
        f"{place} (choice 20): [20] has 1 entry for 2 stages: give one number a stage, e.g. [15, 5]",
        f"{place} (choice 40): [40] has 1 entry for 2 stages: give one number a stage, e.g. [30, 10]",
    ]


def test_a_rung_that_no_trial_reaches_is_told_once(tmp_path: Path) -> None:
    told = mistakes(tmp_path, pruner="{kind: asha, rungs: [250, 1500]}")
    assert told == (
        f"{tmp_path}/sweep.yaml: parts.p.search.pruner.rungs: 1500 steps is not before the end, training.steps = 700: "
        "such a rung is never reached; give rungs before it"
    )


def test_a_rule_that_settings_of_all_trials_break_is_told_at_their_place(tmp_path: Path) -> None:
    told = mistakes(tmp_path, part="workers: {num_workers: 7}\n")
    assert told == (f"{tmp_path}/sweep.yaml: workers.num_workers: 7 does not divide training.batch_size 32: e.g. 8")


@pytest.mark.parametrize("space", [STEPS.replace("20", "[9, 3]"), "\n        sampling.tau: {uniform: [0.5, 0.9]}"])
def test_a_space_with_one_valid_point_is_searched(tmp_path: Path, space: str) -> None:
    (search,) = sweep(tmp_path, space).searches
    assert len(corners(search.spec.parameters)[0]) == 2


def test_mistakes_of_the_form_are_told_without_what_follows_from_them(tmp_path: Path) -> None:
    assert "entry for" not in mistakes(tmp_path, f"{STEPS}\n        sampling.tau: {{uniform: [0.5, 1.9]}}")
