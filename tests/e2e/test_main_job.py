"""The main job, as users meet it: submitted, run directly, repeated, changed, killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import SECRETS, FinishedSweep
from tests.support.own_processes import ray_processes
from tests.support.sweeps import (
    ONLY_DFM,
    ROOT,
    Where,
    children_called,
    descendants,
    environment,
    goes_on_to_the_table_of,
    has_checkpoints,
    numbers,
    published_steps,
    run,
    slow_steps,
    started,
    wait_until,
)


def test_a_submitted_job_leaves_records_report_and_no_process(undisturbed: FinishedSweep) -> None:
    assert undisturbed.code == 0, undisturbed.output
    assert "ray job submit --working-dir . -- python orchestration/sweep.py" in undisturbed.output
    report = undisturbed.root / "reports" / "quickstart"
    for name in ("report.html", "table.md", "table.csv", "table.tex"):
        assert (report / name).stat().st_size > 0
    values = numbers(undisturbed.root)
    assert {row for row, _, _ in values} == {"flow matching", "DFM"}
    assert all(float(value) >= 0 for value in values.values())
    assert (undisturbed.root / "mlflow.db").is_file()
    assert not undisturbed.left


def test_no_secret_of_the_environment_is_in_anything_that_it_left(undisturbed: FinishedSweep) -> None:
    sentinels = [value.encode() for value in SECRETS.values()]
    files = [path for path in undisturbed.root.rglob("*") if path.is_file()]
    assert {"plans", "results", "status", "reports", "provenance", "mlflow.db"} <= {
        path.relative_to(undisturbed.root).parts[0] for path in files
    }
    assert not [path for path in files if any(sentinel in path.read_bytes() for sentinel in sentinels)]
    assert "sentinel-" not in undisturbed.output


def test_errors_of_an_earlier_version_are_computed_anew_by_command(undisturbed: FinishedSweep, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(undisturbed.root, root, ignore=shutil.ignore_patterns("mlflow*", "reports", "checkpoints"))
    whole = {path: path.read_text() for path in sorted(root.glob("results/*/result.json"))}
    measured = [path for path, text in whole.items() if "errors" in json.loads(text)["about"]]
    for path in measured:
        record = json.loads(whole[path])
        del record["about"]["errors"]
        path.write_text(json.dumps(record))
    assert len(measured) == 5, "two trainings at two steps, and real images"
    first = run(root, "--errors")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "5 records: errors computed anew." in first.stdout
    for path in measured:
        found, expected = (
            json.loads(text)["about"].pop("errors")["metrics"] for text in (path.read_text(), whole[path])
        )
        assert found.keys() == expected.keys()
        for metric, error in found.items():
            # by another number of threads, so that sums end in other bits
            assert error["standard_error"] == pytest.approx(expected[metric]["standard_error"], rel=1e-9)
            assert {**error, "standard_error": 0} == {**expected[metric], "standard_error": 0}
    second = run(root, "--errors")
    assert "5 records: all have errors of this version." in second.stdout


def test_the_job_knows_the_commit_it_ran(undisturbed: FinishedSweep) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    assert commit in (undisturbed.root / "reports" / "quickstart" / "report.html").read_text()


@pytest.mark.proves(21)
def test_submitting_again_computes_nothing_and_ends_at_once(undisturbed: FinishedSweep) -> None:
    before = {path: path.stat().st_mtime_ns for path in undisturbed.root.glob("results/*/result.json")}
    page = (undisturbed.root / "reports" / "quickstart" / "report.html").read_bytes()
    again = run(undisturbed.root)
    assert again.returncode == 0, again.stderr
    assert "Everything is done already; nothing is computed." in again.stdout
    assert "Ray:" not in again.stdout
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.root.glob("results/*/result.json")}
    assert (undisturbed.root / "reports" / "quickstart" / "report.html").read_bytes() == page


def test_analysis_alone_writes_the_same_report(undisturbed: FinishedSweep, tmp_path: Path) -> None:
    places = ["--storage", str(undisturbed.root), "--output", str(tmp_path / "report")]
    done = subprocess.run(
        [sys.executable, "-m", "analysis", "sweeps/quickstart.yaml", *places],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = (undisturbed.root / "reports" / "quickstart" / "report.html").read_bytes()
    assert (tmp_path / "report" / "report.html").read_bytes() == ours


@pytest.mark.proves(21)
def test_a_changed_value_runs_only_the_difference(undisturbed: FinishedSweep, tmp_path: Path) -> None:
    root = tmp_path / "runs"
    shutil.copytree(undisturbed.root, root, ignore=shutil.ignore_patterns("mlflow*"))
    changed = run(root, "sampling.tau=0.9", cwd=tmp_path)  # DFM's two evaluations; started from another folder
    assert changed.returncode == 0, changed.stdout + changed.stderr
    begun = [line for line in changed.stdout.splitlines() if line.endswith(": started")]
    assert len(begun) == 0 or all("evaluate" in line for line in begun)
    assert sum("evaluate DFM" in line for line in begun) == 2


@pytest.mark.proves(2)
def test_a_killed_driver_is_continued_to_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    others = ray_processes()
    with started(with_reference, tmp_path / "log", ONLY_DFM, where=Where(environment=slow_steps(12, 40))) as driver:
        wait_until(lambda: len(published_steps(with_reference)) >= 2, "two checkpoints")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        wait_until(lambda: not ray_processes() - others, "the killed driver's Ray to end", seconds=60)
    reached = max(published_steps(with_reference))
    assert 0 < reached < 60
    goes_on_to_the_table_of(undisturbed.root, with_reference)


@pytest.mark.proves(1)
@pytest.mark.slow
def test_a_killed_train_worker_is_replaced_and_the_table_is_the_same(
    undisturbed: FinishedSweep, with_reference: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with started(with_reference, log, ONLY_DFM, where=Where(environment=slow_steps(12, 20))) as driver:
        wait_until(lambda: len(published_steps(with_reference)) >= 2, "two checkpoints")
        os.kill(train_worker(driver.pid), signal.SIGKILL)
        wait_until(lambda: driver.poll() is not None, "the sweep to end", seconds=300)
        assert driver.returncode == 0, log.read_text()
    assert "starting again" in log.read_text()
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")


def train_worker(driver: int) -> int:
    """A process of the training's workers."""
    for pid in descendants(driver):
        if "RayTrainWorker" in " ".join(psutil.Process(pid).cmdline()):
            return pid
    raise AssertionError("no train worker is running")


@pytest.mark.parametrize("override", ["training.steps=0", "workers.num_workers=64"])
def test_a_mistake_starts_nothing(tmp_path: Path, override: str) -> None:
    done = run(tmp_path / "runs", override, "training.batch_size=64")
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert override.split("=")[0] in done.stderr
    assert not list(tmp_path.glob("runs/checkpoints/*"))


LINGERS = """
import pathlib, sys, time
from orchestration import sweep
from orchestration.launch.waiting_tasks import WaitingTasks

def fail(self):
    if any(pathlib.Path(sys.argv[2].partition("=")[2]).glob("checkpoints/*/step-*/manifest.json")):
        raise RuntimeError("broken on purpose")

if sys.argv.pop(1) == "broken":
    WaitingTasks.drop_blocked = fail
try:
    sys.exit(sweep.main(sys.argv[1:]))
finally:
    time.sleep(15)
"""
"""A driver that takes its time after its end, when a second cluster would start; its launcher is sound, or broken."""


@pytest.mark.proves(5)
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("launcher", "code", "last_words"),
    [("sound", 130, "the same command goes on from there"), ("broken", 1, "RuntimeError: broken on purpose")],
)
def test_a_way_out_ends_at_once_what_it_began_and_no_second_ray_starts(
    with_reference: Path, tmp_path: Path, launcher: str, code: int, last_words: str
) -> None:
    slowly = slow_steps(8, 40)
    log, where = tmp_path / "log", Where(lambda *given: [given[0], "-c", LINGERS, launcher, *given[2:]], slowly)
    with started(with_reference, log, ONLY_DFM, where=where) as driver:
        has_checkpoints(with_reference, 1)
        heads, children = set(children_called(driver.pid, "gcs_server")), descendants(driver.pid)
        if launcher == "sound":
            driver.send_signal(signal.SIGINT)

        def is_over() -> bool:
            heads.update(children_called(driver.pid, "gcs_server"))
            return driver.poll() is not None

        wait_until(is_over, "the driver to end", seconds=180)
        assert driver.returncode == code, log.read_text()
        wait_until(lambda: not any(map(psutil.pid_exists, children)), "its processes to end", seconds=60)
    assert len(heads) == 1
    assert last_words in log.read_text()
    assert log.read_text().count("Traceback") == (launcher == "broken")
    assert "No driver is running: the last one" in run(with_reference, ONLY_DFM, "--status").stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "lost", ['"$@" 2>&1 | head -n 3; exit ${PIPESTATUS[0]}', '"$@" >/dev/full 2>&1', '"$@" <&- >&- 2>&-']
)
def test_a_sweep_whose_output_is_lost_ends_with_the_same_table(
    undisturbed: FinishedSweep, with_reference: Path, lost: str
) -> None:
    """A closed pager, a full disk, closed streams: before anything is computed, and for the whole run."""
    done = run(with_reference, ONLY_DFM, where=Where(lambda *given: ["bash", "-c", lost, "bash", *given]))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert numbers(with_reference) == numbers(undisturbed.root, row="DFM")
