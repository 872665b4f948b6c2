"""Table 2 in small: four paradigms through the whole system, a cascade cut off between and inside its networks."""

from __future__ import annotations

import csv
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.sweeps import (
    numbers,
    published_steps,
    python,
    run,
    started,
    wait_until,
)

LAST_STEPS = ("20",)
NANO = (
    "model.size=nano",
    "training.steps=20",
    "training.batch_size=8",
    "training.warmup_steps=3",
    "seeds=[1]",
    "evaluation.num_samples=40",
    "workers.checkpoint_every=5",
)
_ROWS = (
    "{rows: {cascade: {paradigm: cascaded, decomposition.name: levels, sampling: {steps: [2, 2], tau: []}, "
    "cascade.condition_tokens: joined, experts.steps: [30, 20]}}}"
)
CASCADE = (f"parts={{p: {_ROWS}}}", "evaluation.at_steps=[]")


def lines(table: Path) -> list[dict[str, str]]:
    with table.open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_table_2_is_reproduced_in_small_and_set_beside_the_paper(with_reference: Path) -> None:
    done = python("orchestration/reproduce.py", "table2", f"storage.root={with_reference}", *NANO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 trainings" in done.stdout
    report = with_reference / "reports" / "table2_small"
    cells = lines(report / "table.csv")
    assert {cell["row"] for cell in cells} == {"flow_matching", "cascaded", "pyramidal_flow", "dfm"}
    assert {cell["status"] for cell in cells} == {"done"}
    ends = [cell for cell in cells if cell["step"] in LAST_STEPS]
    assert {cell["row"] for cell in ends} == {cell["row"] for cell in cells}
    spent = {float(cell["training_flops"]) for cell in ends}
    assert max(spent) / min(spent) < 1.05  # of 20 steps one is 5%
    comparison = (report / "comparison.md").read_text()
    for text in (comparison, done.stdout):
        assert "only the order of the rows compares" in text
        assert "9.77" in text  # FID50K of DFM without guidance
        assert "One seed" in text


@pytest.mark.slow
def test_a_cascade_killed_in_its_second_network_gives_the_undisturbed_table(
    with_reference: Path, tmp_path: Path
) -> None:
    undisturbed = tmp_path / "undisturbed"
    shutil.copytree(with_reference, undisturbed)
    assert run(undisturbed, *CASCADE).returncode == 0
    with started(with_reference, tmp_path / "log", *CASCADE) as driver:
        # Six checkpoints a network; keep_checkpoints leaves the first one's last two when the second starts.
        wait_until(lambda: len(list(with_reference.glob("checkpoints/*"))) == 2, "the second network")
        second = max(with_reference.glob("checkpoints/*"), key=lambda path: path.stat().st_ctime_ns)
        wait_until(lambda: len(list(second.glob("step-*/manifest.json"))) >= 1, "its first checkpoint")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    assert published_steps(with_reference)
    resumed = run(with_reference, *CASCADE)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert numbers(with_reference) == numbers(undisturbed)


@pytest.mark.slow
def test_a_cascade_whose_first_snapshot_is_lost_makes_it_again(with_reference: Path) -> None:
    assert run(with_reference, *CASCADE).returncode == 0
    before = numbers(with_reference)
    (first,) = with_reference.glob("snapshots/*/step-000000030")
    shutil.rmtree(first)
    again = run(with_reference, *CASCADE)
    assert again.returncode == 0, again.stdout + again.stderr
    assert numbers(with_reference) == before
