"""Searches from the file to the report, on Ray."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from tests.orchestration.conftest import ROOT
from tests.support.sweeps import descendants, python, wait_until

NANO = (
    "model.size=nano",
    "training.steps=20",
    "training.batch_size=8",
    "evaluation.at_steps=[20]",
    "evaluation.num_samples=20",
    "evaluation.bootstrap_replicates=20",
)
FEW = ("parts.best.search.num_trials=3", "parts.front.search.num_trials=2")


def run(root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["sweeps/search_small.yaml", f"storage.root={root}", *NANO, *more]
    return python("orchestration/sweep.py", *arguments)


def published(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "plans" / "search_small.json").read_text())
    return found


def test_a_search_fills_its_table_best_first_and_goes_on_with_more_trials(with_reference: Path) -> None:
    done = run(with_reference, *FEW)
    assert done.returncode == 0, done.stdout + done.stderr
    first = published(with_reference)
    best, front = (part["search"] for part in first["parts"])
    assert sum(trial["state"] == "complete" for trial in best["trials"]) == 3
    assert [trial["state"] for trial in front["trials"]] == ["complete"] * 2
    with (with_reference / "reports" / "search_small" / "table.csv").open() as file:
        cells = [cell for cell in csv.DictReader(file) if cell["metric"] == "fd_lite0_block10"]
    assert {cell["status"] for cell in cells} == {"done"}
    ours = [float(cell["value"]) for cell in cells if cell["part"] == "best" and cell["row"] != "quickstart"]
    assert ours == sorted(ours)
    records = [json.loads(path.read_text()) for path in with_reference.glob("results/*/result.json")]
    assert sum(record["kind"] == "train" for record in records) == 1

    client = MlflowClient(tracking_uri=f"sqlite:///{with_reference}/mlflow.db")
    experiment = client.get_experiment_by_name("search_small")
    assert experiment is not None
    tagged = client.search_runs([experiment.experiment_id], "tags.`dfm.search` = 'best'")
    assert {found.data.tags["dfm.trial_state"] for found in tagged} == {"complete"}
    assert len({found.data.tags["dfm.trial"] for found in tagged}) == 3

    looked = run(with_reference, *FEW, "--dry-run")
    assert "Leading: trial" in looked.stdout
    assert "All its trials are proposed." in looked.stdout
    again = run(with_reference, *FEW)
    assert "Everything is done already; nothing is computed." in again.stdout
    assert published(with_reference) == first


@pytest.mark.slow
def test_pruned_trials_stop_at_their_rung_and_others_resume_from_checkpoints(with_reference: Path) -> None:
    space = "training.learning_rate: {log: [1.0e-4, 1.0e-2]}, training.previous_location: {uniform: [0.0, 2.0]}"
    pruner = "pruner: {kind: asha, rungs: [8], eta: 2, startup: 1}"
    search = f"{{space: {{{space}}}, objectives: {{fd_lite0_block10: minimize}}, num_trials: 3, {pruner}}}"
    done = run(with_reference, f"parts={{p: {{search: {search}}}}}", "compute.allow_unequal=true")
    assert done.returncode == 0, done.stdout + done.stderr
    document = published(with_reference)
    (part,) = document["parts"]
    states = [trial["state"] for trial in part["search"]["trials"]]
    assert states[0] == "complete"
    assert set(states) <= {"complete", "pruned"}
    assert all(len(trial["at_rungs"]) == 1 for trial in part["search"]["trials"])
    trained = {trial["row"]: document["tasks"][trial["train"]]["until_step"] for trial in document["trials"]}
    for trial in part["search"]["trials"]:
        assert trained[trial["row"]] == (20 if trial["state"] == "complete" else 8)
    assert done.stdout.count("train dfm") >= 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["asha", "median", "hyperband"])
def test_decisions_on_forty_trials_outlive_three_kills(with_reference: Path, kind: str) -> None:
    space = (
        "training.stage_probabilities: {choice: [[0.5, 0.5], [0.7, 0.3], [0.9, 0.1]]}, "
        "training.location: {uniform: [-1.0, 1.0]}, sampling.tau: {uniform: [0.5, 0.95]}, "
        "sampling.steps: {choice: [[2, 1], [1, 1]]}"
    )
    scheduler = f"trial_scheduler: {{kind: {kind}, first: 2, eta: 2, num_rungs: 2}}"
    search = f"{{space: {{{space}}}, objectives: {{fd_lite0_block10: minimize}}, num_trials: 40, {scheduler}}}"
    sizes = ("training.steps=8", "evaluation.at_steps=[8]", "evaluation.num_samples=10", "workers.num_workers=1")
    settings = (f"parts={{p: {{search: {search}}}}}", "compute.allow_unequal=true", "seeds=[0]", *sizes)
    decided: dict[int, dict[str, Any]] = {}
    for num_ended in (5, 15, 30):
        kill_after(with_reference, num_ended, [*settings])
        decided |= {trial["number"]: trial for trial in trials_of(with_reference)}
    done = run(with_reference, *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    ended = {trial["number"]: trial for trial in trials_of(with_reference)}
    assert len([trial for trial in ended.values() if trial["state"] != "refused"]) == 40
    assert {trial["state"] for trial in ended.values()} >= {"complete", "pruned"}
    for number, before in decided.items():
        passed = before["at_rungs"]
        assert ended[number]["at_rungs"][: len(passed)] == passed
        assert before["state"] == "running" or ended[number] == before
    measured = Counter(
        re.findall(r"(evaluate trial .* @ \d+): done", (with_reference / "log.txt").read_text() + done.stdout)
    )
    assert set(measured.values()) == {1}, "no rung is measured twice"


def kill_after(root: Path, num_ended: int, settings: list[str]) -> None:
    """Run the search until some trials have ended, and kill all of it."""
    command = [sys.executable, "orchestration/sweep.py", "sweeps/search_small.yaml", f"storage.root={root}", *NANO]
    with (root / "log.txt").open("a") as log:
        driver = subprocess.Popen([*command, *settings], cwd=ROOT, start_new_session=True, stdout=log, stderr=log)
    try:
        wait_until(lambda: num_decided(root) >= num_ended or driver.poll() is not None, f"{num_ended} trials", 1200)
        assert driver.poll() is None, (root / "log.txt").read_text()
    finally:
        for pid in [driver.pid, *descendants(driver.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        driver.wait()


def num_decided(root: Path) -> int:
    return sum(trial["state"] not in ("running", "refused") for trial in trials_of(root))


def trials_of(root: Path) -> list[dict[str, Any]]:
    if not (root / "plans" / "search_small.json").exists():
        return []
    return list(published(root)["parts"][0]["search"]["trials"])
