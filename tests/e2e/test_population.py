"""Population based training from the file to the report, on Ray: whole states go from one training to the next."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweeps import run

RATES = (0.001, 0.004)
SIZES = ("training.steps=24", "evaluation.at_steps=[24]", "evaluation.num_samples=20", "workers.num_workers=1")
ROWS = ", ".join(f"rate {rate}: {{training.learning_rate: {rate}}}" for rate in RATES)
SEARCH = (
    f"{{space: {{training.learning_rate: {{choice: {list(RATES)}}}}}, objectives: {{fd_lite0_block10: minimize}}, "
    "sampler: grid, num_trials: 2, trial_scheduler: {kind: pbt, first: 8, num_rungs: 2}}"
)
PARTS = f"parts={{p: {{rows: {{{ROWS}}}, search: {SEARCH}}}}}"


def document(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "plans" / "quickstart.json").read_text())
    return found


def record(root: Path, digest: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "results" / digest / "result.json").read_text())
    return found


def losses(root: Path, digest: str) -> list[tuple[float, float]]:
    return [(row["step"], row["loss"]) for row in record(root, digest)["curve"]]


@pytest.mark.slow
def test_a_training_in_stretches_is_the_whole_one_and_a_copy_has_the_past_of_its_donor(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    done = run(root, *SIZES, PARTS)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = document(root)
    entries = {entry["row"]: entry for entry in plan["trials"]}
    first, second = plan["parts"][0]["search"]["trials"]
    better, worse = (first, second) if "exploits" not in first else (second, first)
    (rung, donor, past, settings), *_ = worse["exploits"]
    assert (rung, donor) == (0, better["number"])
    assert past == [better["settings"]]
    assert settings != better["settings"]

    rate = better["settings"]["training.learning_rate"]
    plain, kept = entries[f"rate {rate}"], entries[better["row"]]
    if "exploits" not in better:  # never the worse of two
        assert losses(root, kept["train"]) == losses(root, plain["train"])
        ends = [record(root, entry["evaluations"][-1]["digest"])["metrics"] for entry in (kept, plain)]
        assert ends[0] == ends[1]
    copied = losses(root, entries[worse["row"]]["train"])
    assert copied[:8] == losses(root, plain["train"])[:8]
    assert copied[8:] != losses(root, plain["train"])[8:]
    assert [step for step, _ in copied] == list(range(1, 25))

    again = run(root, *SIZES, PARTS)
    assert "Everything is done already; nothing is computed." in again.stdout
    assert document(root) == plan
