"""MLflow's own database on a new root: whole or not there, whoever is killed or starts at the same time."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from orchestration.common.project import ROOT
from orchestration.storage.library_database import is_complete
from orchestration.tracking.uri import ensure_database

OPEN = (
    "import sys\nfrom orchestration.tracking.uri import ensure_database\nprint('begun', flush=True)\n"
    "ensure_database(sys.argv[1])\n"
)


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def opener(uri: str) -> subprocess.Popen[str]:
    """A driver that opens the database, as far as it has imported all it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, uri],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def can_record(uri: str) -> bool:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("sweep")
    return client.create_run(experiment).info.status == "RUNNING"


@pytest.mark.parametrize("seconds", [0.1, 0.6, 2.0])
def test_a_root_whose_first_driver_was_killed_is_usable(tmp_path: Path, seconds: float) -> None:
    process = opener(uri_of(tmp_path))
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists() or is_complete(tmp_path / "mlflow.db")
    ensure_database(uri_of(tmp_path))
    assert can_record(uri_of(tmp_path))


def test_two_drivers_on_a_new_root_use_one_database(tmp_path: Path) -> None:
    processes = [opener(uri_of(tmp_path)) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    assert can_record(uri_of(tmp_path))
    assert not list(tmp_path.glob("*.aside-*"))


def test_a_database_that_an_earlier_version_left_half_made_is_set_aside(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection:
        connection.execute("CREATE TABLE _alembic_tmp_latest_metrics (key TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.commit()
    ensure_database(uri_of(tmp_path))
    assert can_record(uri_of(tmp_path))
    assert len(list(tmp_path.glob("mlflow.db.aside-*"))) == 1
