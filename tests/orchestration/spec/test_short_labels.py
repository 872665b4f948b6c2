"""Labels in few letters, and names that people use: neither changes what is computed."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError, nearest
from orchestration.plan.plan import make_plan
from orchestration.spec.load import SweepSpec, load_sweep
from tests.orchestration.conftest import QUICKSTART

GRID = "parts={p: {grid: {training.first_stage_probability: [0.7, 0.9], sampling.steps: [[3, 1], [2, 2]]}}}"


def shorts(spec: SweepSpec) -> list[str]:
    return [row.short for part in spec.parts for row in part.rows]


def test_points_of_a_grid_are_called_by_the_papers_symbols() -> None:
    spec = load_sweep(QUICKSTART)
    assert shorts(spec)[:3] == ["flow matching", "DFM", "p₀ 0.7, τ 0.7"]
    assert spec.parts[1].rows[0].label == "first_stage_probability=0.7, tau=0.7"  # commands and budgets name it so


def test_a_sweeps_own_labels_change_titles_and_no_digest() -> None:
    plain = make_plan(load_sweep(QUICKSTART, [GRID]))
    own = load_sweep(QUICKSTART, [GRID, "labels={training.first_stage_probability: q, sampling: {steps: N}}"])
    assert shorts(own)[0] == "q 0.7, N 3+1"
    named = make_plan(own)
    assert named.tasks.keys() == plain.tasks.keys()
    assert "dfm, q 0.9, seed=0" in {task.title for task in named.tasks.values()}
    assert "dfm, p₀ 0.9, seed=0" in {task.title for task in plain.tasks.values()}


def test_labels_that_would_make_two_rows_alike_are_left_out() -> None:
    rows = "parts={p: {grid: {training.first_stage_probability: [0.7]}, rows: {p₀ 0.7: {}}}}"
    assert shorts(load_sweep(QUICKSTART, [rows])) == ["p₀ 0.7", "first_stage_probability=0.7"]


def test_mistakes_in_labels_are_all_told() -> None:
    given = "labels={training.first_stage_prob: q, training.steps: 3, sampling.tau: ''}"
    with pytest.raises(UserError) as caught:
        load_sweep(QUICKSTART, [given])
    first, second, third = map(str, caught.value.problems)
    assert "is no key of a row; did you mean 'training.first_stage_probability'?" in first
    assert "labels.training.steps: 3 must be a text of 1 to 24 letters" in second
    assert "labels.sampling.tau: '' must be a text" in third


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("training.p0t=0.7", "first_stage_probability"),
        ("p0t=0.7", "training.first_stage_probability"),
        ("training.lognormal_location=1.0", "previous_location"),
        ("training.tau=0.7", "sampling.tau"),
        ("sampling.cfg=2.0", "guidance"),
        ("cfg=2.0", "sampling.guidance"),
        ("sampling.learning_rate=0.1", "training.learning_rate"),
    ],
)
def test_names_that_people_use_are_told_the_key(override: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        load_sweep(QUICKSTART, [override])


@pytest.mark.parametrize("key", ["tau: [0.7]", "sampling: {}\ncfg: 2.0"])
def test_a_settings_name_at_the_top_of_a_file_is_told_its_section(tmp_path: Path, key: str) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: a\nbase: {QUICKSTART.parent}/base/fashion_mnist_small.yaml\n{key}\n")
    with pytest.raises(UserError, match="did you mean 'sampling"):
        load_sweep(path)


def test_what_is_close_is_told_where_nothing_is_meant() -> None:
    assert nearest("guidence", ["guidance", "steps"]) == "; did you mean 'guidance'?"
    assert nearest("colour", ["guidance", "steps"]) == ""
    assert nearest("steps", ["steps"]) == "; did you mean 'steps'?"
