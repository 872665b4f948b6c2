"""SQLite files that a library creates in many steps, put into place whole.

MLflow runs some forty migrations on a new database and Optuna creates its tables one by one. A process that is killed
meanwhile, or a second one that begins at the same time, leaves a file that neither library can use or repair.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from filelock import FileLock
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from orchestration.common.cleanup import always

_LOG = logging.getLogger(__name__)
_LOCK_SECONDS = 300.0
"""A first creation takes seconds; a creator that died holds no lock."""
_SIDE_FILES = ("", "-wal", "-shm", "-journal")
_UNFINISHED_MIGRATION = "_alembic_tmp_"
_VERSION_TABLE = "alembic_version"


def ensure_whole(path: Path, create: Callable[[Path], None], why_unfit: Callable[[], str] = lambda: "") -> Path | None:
    """Create a library's database beside its place and rename it there when it is complete.

    A database that is there and complete is left as it is, unless it is unfit. One whose creation was cut off is set
    aside. In a folder that does not exist nothing is created: its name may be misspelt, and the library says so.

    Args: create: makes the library create all of its tables in a new file and closes it. why_unfit: says why a complete
        database is set aside as well; "" if it is not.
    Returns: the place of a database that was set aside, or None.
    Raises: OSError if the folder cannot be written; filelock.Timeout if another process creates it for minutes.
    """

    def why() -> str:
        return why_unfit() if is_complete(path) else "was not complete"

    if not path.parent.is_dir() or not why():
        return None
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS):
        reason = why()
        if not reason:  # created by another process meanwhile
            return None
        for left in path.parent.glob(f".{path.name}.*.partial*"):  # of a creator that was killed: it held the lock
            left.unlink(missing_ok=True)
        with _partial(path) as partial:
            create(partial)
            with closing(sqlite3.connect(partial)) as connection:  # into the one file that is renamed
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            assert is_complete(partial), f"{path.name} was not created whole"
            aside = set_aside(path, reason) if path.exists() else None
            partial.replace(path)
    return aside


def sqlite_url(path: Path, *, read_only: bool = False) -> str:
    """Return the SQLAlchemy URL of an SQLite file. Args: read_only: another at each call, for the file of now."""
    if read_only:
        # MLflow keeps connections by URL, and they stay with a file that is renamed.
        query = {"mode": "ro", "uri": "true", "opened": uuid.uuid4().hex}
        return str(URL.create("sqlite+pysqlite", database=path.absolute().as_uri(), query=query))
    url = URL.create("sqlite", database=str(path))
    # MLflow makes a folder of what follows `sqlite:///`, escapes and all; of a URL with a driver it does not.
    return str(url if str(url) == f"sqlite:///{path}" else url.set(drivername="sqlite+pysqlite"))


def sqlite_file(uri: str) -> Path | None:
    """Return the file of an SQLAlchemy URL of SQLite; None for other databases, servers and databases in memory."""
    try:
        url = make_url(uri)
    except ArgumentError:
        return None
    place = url.database or ":memory:"
    return None if url.get_backend_name() != "sqlite" or place.startswith((":", "file:")) else Path(place)


def absolute_url(uri: str) -> str:
    """Return the URL of a database, that of a file by its absolute path."""
    file = sqlite_file(uri)
    if file is None or file.is_absolute():
        return uri
    return str(make_url(sqlite_url(file.absolute())).update_query_dict(make_url(uri).query))


def is_complete(path: Path) -> bool:
    """Return whether a SQLite file holds a schema that its library finished.

    A file that is locked or cannot be read is no reason to create another one: only its library can say more.
    """
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=0)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if _VERSION_TABLE not in tables or any(name.startswith(_UNFINISHED_MIGRATION) for name in tables):
                return False
            return connection.execute(f"SELECT 1 FROM {_VERSION_TABLE}").fetchone() is not None  # noqa: S608  a constant
    except sqlite3.OperationalError:
        return True
    except sqlite3.DatabaseError:
        return False


def set_aside(path: Path, why: str) -> Path:
    """Rename a database and its side files out of the way; nothing is deleted. Returns the new place."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    aside = path.with_name(f"{path.name}.aside-{stamp}-{uuid.uuid4().hex[:6]}")
    for ending in _SIDE_FILES:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    _LOG.warning("%s %s and is now %s", path, why, aside.name)
    return aside


@contextlib.contextmanager
def _partial(path: Path) -> Iterator[Path]:
    """A new name beside a path; nothing of it stays."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:6]}.partial")

    def remove() -> None:
        for ending in _SIDE_FILES:
            partial.with_name(partial.name + ending).unlink(missing_ok=True)

    with always(remove):
        yield partial
