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
from orchestration.storage.store import Store
from orchestration.tracking.sqlite_database import ensure_database
from orchestration.tracking.uri import artifact_location, resolve_uri

OPEN = (
    "import sys\nfrom pathlib import Path\nfrom orchestration.storage.store import Store\n"
    "from orchestration.tracking.sqlite_database import ensure_database\nprint('begun', flush=True)\n"
    "ensure_database(sys.argv[1], Store(sys.argv[2]), 'sweep')\n"
)


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def opener(root: Path) -> subprocess.Popen[str]:
    """A driver that opens the database, as far as it has imported all it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN, uri_of(root), str(root)],
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
    process = opener(tmp_path)
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists() or is_complete(tmp_path / "mlflow.db")
    ensure_database(uri_of(tmp_path), Store(str(tmp_path)), "sweep")
    assert can_record(uri_of(tmp_path))


def test_two_drivers_on_a_new_root_use_one_database(tmp_path: Path) -> None:
    processes = [opener(tmp_path) for _ in range(2)]
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
    ensure_database(uri_of(tmp_path), Store(str(tmp_path)), "sweep")
    assert can_record(uri_of(tmp_path))
    assert len(list(tmp_path.glob("mlflow.db.aside-*"))) == 1


def test_a_root_under_another_name_keeps_its_database(tmp_path: Path) -> None:
    root, link = tmp_path / "root", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    artifacts = artifact_location(uri_of(root), Store(str(root)))
    ensure_database(uri_of(root), Store(str(root)), "sweep")
    MlflowClient(tracking_uri=uri_of(root)).create_experiment("sweep", artifact_location=artifacts)
    ensure_database(uri_of(link), Store(str(link)), "sweep")
    assert not list(root.glob("*.aside-*"))


def test_sweeps_of_other_roots_in_a_database_are_no_reason_to_make_it_anew(tmp_path: Path) -> None:
    root, other = Store(str(tmp_path / "root")), Store(str(tmp_path / "other"))
    Path(root.root).mkdir()
    uri = resolve_uri(None, root, {})
    for name, store in (("own", root), ("guest", other)):
        ensure_database(uri, store, name)
        MlflowClient(tracking_uri=uri).create_experiment(name, artifact_location=artifact_location(uri, store))
    for name, store in (("own", root), ("new", root), ("guest", other)):
        ensure_database(uri, store, name)
    assert not list(Path(root.root).glob("*.aside-*"))
    ensure_database(uri, root, "guest")  # whose artifacts would go to the other root
    assert len(list(Path(root.root).glob("*.aside-*"))) == 1
