"""One undisturbed run of the tiny sweep, as a Ray job; the others are held against it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient

from tests.support.own_processes import commands
from tests.support.sweeps import ROOT, TIMEOUT_SECONDS, TINY, environment

SECRETS = {
    name: f"sentinel-{name.lower()}"
    for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MLFLOW_TRACKING_PASSWORD", "PGPASSWORD", "HF_TOKEN")
}


@dataclass(frozen=True)
class FinishedSweep:
    """The undisturbed run."""

    root: Path
    output: str
    code: int
    left: list[str]
    """Command lines of its processes that were still there after it."""


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> FinishedSweep:
    """The sweep submitted as a Ray job with token authentication, by the code behind `make demo`.

    It takes minutes: the first test process that asks makes it for all.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "undisturbed"
    outcome = folder / "outcome.json"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not outcome.exists():
            done = _run_demo(folder / "runs")
            left = [command for command in commands() if "dfm-ray-" in command]
            output = done.stdout + done.stderr
            outcome.write_text(json.dumps({"output": output, "code": done.returncode, "left": left}))
    return FinishedSweep(folder / "runs", **json.loads(outcome.read_text()))


def _run_demo(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "orchestration.demo", *TINY],
        cwd=ROOT,
        env=environment() | SECRETS | {"DFM_STORAGE_ROOT": str(root)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )


@pytest.fixture(scope="session")
def empty_tracking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database before its first run, which takes a core two seconds to make."""
    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    MlflowClient(tracking_uri=f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def with_reference(undisturbed: FinishedSweep, empty_tracking: Path, tmp_path: Path) -> Path:
    """A root in which real images are measured already: that takes longest and is not what is tested."""
    root = tmp_path / "runs"
    root.mkdir()
    shutil.copy(empty_tracking, root / "mlflow.db")
    for record in undisturbed.root.glob("results/*/result.json"):
        if json.loads(record.read_text())["kind"] in ("reference", "probe", "floor"):
            shutil.copytree(record.parent, root / "results" / record.parent.name)
    assert (root / "results").is_dir(), f"the undisturbed run left no reference:\n{undisturbed.output}"
    return root
