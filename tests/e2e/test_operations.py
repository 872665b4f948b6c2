"""A sweep is looked at and stopped from another process while it runs, held to its budgets, and continued."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.conftest import FinishedSweep
from tests.support.sweeps import ONLY_DFM, Where, numbers, published_steps, run, slow_steps, started, wait_until

OFTEN = ("workers.checkpoint_every=1", "workers.keep_checkpoints=99")
"""A checkpoint a step slows the tiny training down, so that it is met in the middle."""


def phase(root: Path) -> str:
    beat = root / "status" / "quickstart.json"
    return str(json.loads(beat.read_text())["phase"]) if beat.is_file() else ""


@pytest.mark.slow
def test_a_sweep_is_looked_at_while_it_runs_stopped_and_continued_to_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with started(with_reference, log, ONLY_DFM, *OFTEN, where=Where(environment=slow_steps(5, 40))) as driver:
        wait_until(lambda: len(published_steps(with_reference)) >= 1, "a checkpoint")
        looked = run(with_reference, ONLY_DFM, "--status")
        asked = run(with_reference, ONLY_DFM, "--stop")
        wait_until(lambda: driver.poll() is not None, "the driver to end", seconds=180)
        assert driver.returncode == 5, log.read_text()
    assert "Running: driver" in looked.stdout
    assert "running: " in looked.stdout
    assert "3 done, 1 running, 0 failed, 2 to do" in looked.stdout
    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert "has ended (stopped: it was asked to by `--stop`)" in asked.stdout
    assert "Stopped: it was asked to by `--stop`. 3 tasks are left" in log.read_text()
    assert "To go on: the same command goes on from here." in log.read_text()
    assert "Traceback" not in log.read_text()
    assert phase(with_reference) == "ended"
    assert [path.name for path in (with_reference / "status").iterdir()] == ["quickstart.json"]
    reached = max(published_steps(with_reference))
    assert 0 < reached < 60
    assert f"train dfm, seed=0: stopped at step {reached}" in log.read_text()
    resumed = run(with_reference, ONLY_DFM)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "actual / estimated" in resumed.stdout
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


@pytest.mark.slow
def test_budgets_stop_at_checkpoints_and_higher_ones_go_on_to_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path
) -> None:
    one = run(with_reference, ONLY_DFM, *OFTEN, "workers.max_accelerator_hours_per_training=0.001")
    assert one.returncode == 1, one.stdout + one.stderr
    assert "of its 0.001 accelerator-hours (workers.max_accelerator_hours_per_training)" in one.stdout
    assert "FAILED: an input failed" in one.stdout
    first = max(published_steps(with_reference))
    again = run(with_reference, ONLY_DFM, *OFTEN, "workers.max_accelerator_hours_per_training=0.001")
    assert again.returncode == 1
    assert "train dfm, seed=0: started" not in again.stdout  # it has spent its share, and is not even started
    beat = json.loads((with_reference / "status" / "quickstart.json").read_text())
    limit = f"{(beat['accelerator_seconds'] + 45) / 3600}"
    whole = run(with_reference, ONLY_DFM, *OFTEN, "--max-accelerator-hours", limit)
    assert whole.returncode == 4, whole.stdout + whole.stderr
    assert "accelerator-hours are spent (workers.max_accelerator_hours). 3 tasks are left" in whole.stdout
    assert first <= max(published_steps(with_reference)) < 60
    unchanged = run(with_reference, ONLY_DFM, *OFTEN, "--max-accelerator-hours", limit)
    assert unchanged.returncode == 4
    assert "Ray:" not in unchanged.stdout  # not even that is started
    resumed = run(with_reference, ONLY_DFM, "--max-accelerator-hours", "10")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")
