"""A sampling sweep on one snapshot, from the file to the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.support.sweeps import python

NANO = (
    "model.size=nano",
    "training.steps=20",
    "training.batch_size=8",
    "evaluation.at_steps=[20]",
    "evaluation.num_samples=20",
    "evaluation.bootstrap_replicates=20",
)


@pytest.mark.slow
def test_the_points_of_a_snapshot_are_sampled_together_and_fill_the_table(with_reference: Path) -> None:
    done = python("orchestration/sweep.py", "sweeps/figure3_small.yaml", f"storage.root={with_reference}", *NANO)
    assert done.returncode == 0, done.stdout + done.stderr
    with (with_reference / "reports" / "figure3_small" / "table.csv").open() as file:
        cells = list(csv.DictReader(file))
    assert {cell["status"] for cell in cells} == {"done"}
    assert len({(cell["part"], cell["row"]) for cell in cells}) == 32
    records = [json.loads(path.read_text()) for path in with_reference.glob("results/*/result.json")]
    evaluations = [record for record in records if record["kind"] == "evaluate"]
    assert len(evaluations) == 29
    sharings = [record["about"]["sharing"] for record in evaluations]
    assert sorted({sharing["points"] for sharing in sharings}) == [1, 5]  # 9 steps before 1, 2, 3, 6 and 9
    alone = sum(20 * record["metrics"]["num_evaluations"] for record in evaluations)
    made = sum(sharing["network_evaluations"] / sharing["points"] for sharing in sharings)
    assert (made, alone) == (20 * (419 + 24), 20 * (527 + 24))
