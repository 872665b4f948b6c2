"""The command line: light and fast to plan, exit code 2 for the user's mistakes, from any folder."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.orchestration.conftest import QUICKSTART, ROOT

HEAVY = ("torch", "ray", "deepspeed", "mlflow", "optuna", "pandas", "matplotlib", "scipy")


def sweep(*arguments: str, cwd: Path = ROOT, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DFM_STORAGE_ROOT"}
    return subprocess.run(
        [sys.executable, *python, str(ROOT / "orchestration" / "sweep.py"), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_dry_run_prints_the_plan_and_creates_nothing(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "6 trials share 3 trainings; 18 cells share 15 evaluations." in done.stdout
    for word in ("FLOPs", "accelerator-hours at an assumed", "MB", "DFM and 2 more"):
        assert word in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_imports_nothing_heavy_and_takes_less_than_two_seconds(tmp_path: Path) -> None:
    sweep(str(QUICKSTART), "--dry-run", cwd=tmp_path)  # warms the disk cache
    begin = time.monotonic()
    done = sweep(str(QUICKSTART), "--dry-run", cwd=tmp_path, python=("-X", "importtime"))
    seconds = time.monotonic() - begin
    assert done.returncode == 0
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert not loaded & set(HEAVY)
    assert seconds < 2


def test_mistakes_end_with_code_2_all_listed_and_no_traceback(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "training.steps=-1", "modle.size=B", "sampling.tau=2", cwd=tmp_path)
    assert done.returncode == 2
    assert "3 mistakes; nothing was started:" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ("/dev/null/runs", "cannot write to /dev/null/runs"),
        ("nosuch://bucket", "storage.root: 'nosuch://bucket'"),
        ("/etc/passwd", "/etc/passwd"),
    ],
)
def test_storage_that_cannot_be_used_is_named(tmp_path: Path, root: str, expected: str) -> None:
    done = sweep(str(QUICKSTART), f"storage.root={root}", cwd=tmp_path)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_a_users_mistake(tmp_path: Path) -> None:
    done = sweep("sweeps/quikstart.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such file" in done.stderr


def test_an_unreachable_tracking_server_is_found_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as listener:  # bound but not listening: connections are refused
        listener.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{listener.getsockname()[1]}"
        done = sweep(str(QUICKSTART), f"storage.root={tmp_path}", f"tracking.uri={uri}", cwd=tmp_path)
    assert done.returncode == 2
    assert "tracking.uri: cannot use MLflow" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named_by_the_demo(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "orchestration.demo", "--dashboard-port", str(port)],
            cwd=ROOT,
            env=os.environ | {"DFM_STORAGE_ROOT": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"--dashboard-port {port}: cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("root", ["/etc/passwd", "/tmp/" + "x" * 300])
def test_a_root_that_cannot_be_read_stops_a_dry_run_too(tmp_path: Path, root: str) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", f"storage.root={root}", cwd=tmp_path)
    assert done.returncode == 2
    assert "storage.root" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_that_look_like_markup_are_shown_as_written(tmp_path: Path) -> None:
    done = sweep(str(QUICKSTART), "--dry-run", "parts={p: {rows: {'[/x] [bold]y': {}}}}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "[/x] [bold]y" in done.stdout
