"""The time that trials of a search take, as the plan of the same rows would tell it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from orchestration.plan.estimate import estimate
from orchestration.plan.plan import make_plan
from orchestration.search.cost import cost_lines
from orchestration.spec.load import load_sweep
from tests.support.searches import sweep

RATE = "\n        training.learning_rate: {choice: [0.001, 0.002]}"
TAU = "\n        sampling.tau: {choice: [0.6, 0.8]}"


def minutes(folder: Path, space: str, **search: str) -> float:
    plan = make_plan(sweep(folder, space, **search))
    _, time = cost_lines(plan, plan.spec.searches[0], (), estimate(plan, {}, {}, {}))
    found = re.fullmatch(r"  That is about .* on 2 workers, (\S+) accelerator-hours at an assumed .*\.", time)
    assert found is not None, time
    return 60 * float(found[1])


def test_trials_take_as_long_as_rows_of_the_same_settings(tmp_path: Path) -> None:
    found = minutes(tmp_path, RATE, num_trials="2")
    path = tmp_path / "sweep.yaml"
    head = path.read_text().split("parts:")[0]
    path.write_text(f"{head}parts: {{p: {{grid: {{training.learning_rate: [0.001, 0.002]}}}}}}\n")
    plan = make_plan(load_sweep(path))
    rows = estimate(plan, [task.digest for task in plan.tasks.values() if not hasattr(task, "snapshots")], {}, {})
    trained = estimate(plan, {}, {}, {}).accelerator_seconds
    assert rows.accelerator_seconds / 60 < found < trained / 60
    assert found == pytest.approx(trained / 60, rel=0.1)  # references and probes are not counted once a trial


def test_a_search_of_sampling_trains_once(tmp_path: Path) -> None:
    few, many = minutes(tmp_path, TAU, num_trials="2"), minutes(tmp_path, TAU, num_trials="4")
    assert few < many < 1.9 * few
    trainings = [minutes(tmp_path, RATE, num_trials=number) for number in ("2", "4")]
    assert trainings[1] == pytest.approx(2 * trainings[0], rel=0.05)
