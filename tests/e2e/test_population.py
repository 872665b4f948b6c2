"""Population based training from the file to the report, on Ray: whole states go from one training to the next."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sweeps import ROOT, descendants, environment, python, run, signalled, wait_until

RATES = (0.001, 0.002)
SIZES = ("training.steps=24", "evaluation.at_steps=[24]", "evaluation.num_samples=20", "workers.num_workers=1")
ROWS = ", ".join(f"rate {rate}: {{training.learning_rate: {rate}}}" for rate in RATES)
SEARCH = (
    "{space: {training.learning_rate: {choice: [0.001, 0.002, 0.004]}}, objectives: {fd_lite0_block10: minimize}, "
    "sampler: grid, num_trials: 2, trial_scheduler: {kind: pbt, first: 8, num_rungs: 2, resample: 0}}"
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


def rates_by_stretch(trial: dict[str, Any]) -> list[float]:
    settings = [trial["settings"]] * 3
    if "exploits" in trial:
        rung, _, past, now = trial["exploits"][-1]
        settings = [*past, *[now] * (2 - rung)]
    return [one["training.learning_rate"] for one in settings]


@pytest.mark.slow
def test_a_training_in_stretches_is_the_whole_one_and_copies_its_donor(with_reference: Path) -> None:
    root = with_reference
    done = run(root, *SIZES, PARTS)
    assert done.returncode == 0, done.stdout + done.stderr
    plan = document(root)
    entries = {entry["row"]: entry for entry in plan["trials"]}
    trials = plan["parts"][0]["search"]["trials"]
    assert any("exploits" in trial for trial in trials)
    for trial in trials:
        own, rates = entries[trial["row"]], rates_by_stretch(trial)
        plain = entries[f"rate {rates[0]}"]
        constant = next((number for number, rate in enumerate(rates) if rate != rates[0]), len(rates))
        shared, curve, whole = 8 * constant, losses(root, own["train"]), losses(root, plain["train"])
        assert [step for step, _ in curve] == list(range(1, 25))
        assert curve[:shared] == whole[:shared], "bit for bit, moments and data included"
        if constant == len(rates):
            ends = [record(root, entry["evaluations"][-1]["digest"])["metrics"] for entry in (own, plain)]
            assert ends[0]["fd_lite0_block10"] == ends[1]["fd_lite0_block10"]
        else:
            assert curve[shared:] != whole[shared:]

    again = run(root, *SIZES, PARTS)
    assert "Everything is done already; nothing is computed." in again.stdout
    assert document(root) == plan


_MOST_SECONDS = 1200.0
SHIPPED = "sweeps/search_schedule_small.yaml"
NANO = (
    "model.size=nano",
    "training.steps=16",
    "training.batch_size=8",
    "evaluation.at_steps=[16]",
    "evaluation.num_samples=20",
    "evaluation.bootstrap_replicates=20",
    "workers.num_workers=1",
    "parts.schedules.search.num_trials=6",
    "parts.schedules.search.trial_scheduler.first=4",
)


def test_the_search_of_schedules_is_planned_with_its_rungs(tmp_path: Path) -> None:
    done = python("orchestration/sweep.py", SHIPPED, f"storage.root={tmp_path}/runs", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pbt copies better trainings at 175, 350, 525 steps" in done.stdout


def trials_of(root: Path) -> list[dict[str, Any]]:
    plan = root / "plans" / "search_schedule_small.json"
    return list(json.loads(plan.read_text())["parts"][0]["search"]["trials"]) if plan.exists() else []


def num_measured(root: Path) -> int:
    return sum(len(trial["at_rungs"]) + (trial["state"] == "complete") for trial in trials_of(root))


@pytest.mark.slow
def test_a_population_that_is_killed_three_times_ends_as_the_uninterrupted_one(with_reference: Path) -> None:
    whole, cut = with_reference.parent / "whole", with_reference.parent / "cut"
    for root in (whole, cut):
        shutil.copytree(with_reference, root)
    done = python("orchestration/sweep.py", SHIPPED, f"storage.root={whole}", *NANO, seconds=_MOST_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert any("exploits" in trial for trial in trials_of(whole))
    for count in (1, 8, 15):
        kill_once(cut, count)
    done = python("orchestration/sweep.py", SHIPPED, f"storage.root={cut}", *NANO, seconds=_MOST_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert trials_of(cut) == trials_of(whole)
    assert "Schedule of trial 0: learning_rate" in (cut / "reports/search_schedule_small/table.md").read_text()


def kill_once(root: Path, count: int) -> None:
    """Run the search until so many values are there, and kill all of it."""
    command = [sys.executable, "orchestration/sweep.py", SHIPPED, f"storage.root={root}", *NANO]
    with (root.parent / "log.txt").open("a") as log:
        driver = subprocess.Popen(command, cwd=ROOT, env=environment(), start_new_session=True, stdout=log, stderr=log)
    try:
        wait_until(lambda: num_measured(root) >= count or driver.poll() is not None, f"{count} values", 600)
        assert driver.poll() is None, (root.parent / "log.txt").read_text()
    finally:
        for pid in [driver.pid, *descendants(driver.pid)]:
            signalled(pid, signal.SIGKILL)
        driver.wait()
