"""Databases that a library creates in steps are in their place whole or not at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from orchestration.common.project import ROOT
from orchestration.storage.library_database import ensure_whole, is_complete


def create(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('head')")
        connection.commit()


def add_run(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("INSERT INTO runs VALUES ('a')")
        connection.commit()


def num_runs(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM runs").fetchone()[0])


def test_a_new_database_is_created_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    assert ensure_whole(path, create) is None
    assert is_complete(path)
    assert {entry.name for entry in path.parent.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}


def test_in_a_folder_that_does_not_exist_nothing_is_created(tmp_path: Path) -> None:
    assert ensure_whole(tmp_path / "misspelt" / "mlflow.db", lambda _: pytest.fail("created")) is None
    assert list(tmp_path.iterdir()) == []


def test_a_complete_database_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    create(path)
    add_run(path)
    assert ensure_whole(path, lambda _: pytest.fail("created again")) is None
    assert num_runs(path) == 1


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE alembic_version (version_num TEXT)", "CREATE TABLE runs (name TEXT)"),
        ("CREATE TABLE runs (name TEXT)",),
        (
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES ('early')",
            "CREATE TABLE _alembic_tmp_runs (name TEXT)",
        ),
        (),
    ],
)
def test_a_database_whose_creation_was_cut_off_is_set_aside(tmp_path: Path, statements: tuple[str, ...]) -> None:
    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    path.touch()
    aside = ensure_whole(path, create)
    assert is_complete(path)
    assert aside is not None
    assert aside.exists()


def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "search.db"
    path.write_text("no database at all, but longer than a header of one hundred bytes " * 10)
    aside = ensure_whole(path, create)
    assert aside is not None
    assert aside.read_text().startswith("no database")
    assert is_complete(path)


def test_a_locked_database_is_not_taken_for_an_incomplete_one(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    create(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert is_complete(path)


def test_a_failed_creation_leaves_no_database(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("disk is full")

    with pytest.raises(OSError, match="disk is full"):
        ensure_whole(tmp_path / "mlflow.db", fail)
    assert [entry.name for entry in tmp_path.iterdir()] == [".mlflow.db.lock"]


def test_of_many_at_once_one_creates_and_all_use_it(tmp_path: Path) -> None:
    path, created = tmp_path / "mlflow.db", []

    def slowly(partial: Path) -> None:
        created.append(partial)
        time.sleep(0.3)
        create(partial)

    threads = [threading.Thread(target=ensure_whole, args=(path, slowly)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    assert is_complete(path)


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6])
def test_a_creator_that_is_killed_leaves_the_place_usable(tmp_path: Path, seconds: float) -> None:
    path = tmp_path / "mlflow.db"
    program = (
        "import itertools, sys, time, sqlite3\nfrom pathlib import Path\n"
        "from orchestration.storage.library_database import ensure_whole\n"
        "def create(path):\n"
        "    connection = sqlite3.connect(path)\n"
        "    print('begun', flush=True)\n"
        "    for number in itertools.count():\n"
        "        connection.execute(f'CREATE TABLE t{number} (a)'); connection.commit(); time.sleep(0.01)\n"
        "ensure_whole(Path(sys.argv[1]), create)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert not path.exists()
    assert ensure_whole(path, create) is None
    assert is_complete(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}
