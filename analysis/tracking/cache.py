"""A file in the user's cache directory that holds what was read of runs and records until these change."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

FOLDER_VARIABLE = "DFM_ANALYSIS_CACHE"
"""Another folder, or "off"."""
WORTH_CACHING = 200
"""Fewer items make no cache: they are read again in no time."""
_LOG = logging.getLogger("analysis")
_FORMAT = "dfm analysis, format 2"
_TABLE = """
CREATE TABLE IF NOT EXISTS items (run TEXT, name TEXT, state TEXT NOT NULL, checksum INTEGER NOT NULL,
                                  data BLOB NOT NULL, PRIMARY KEY (run, name))
"""


class Item(NamedTuple):
    """Something that was read of a run or task, while it was in a state."""

    run: str
    """Id of the run, or digest of the task."""
    name: str
    state: str
    data: bytes


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of caches; None if they are turned off or there is no such place."""
    named = environment.get(FOLDER_VARIABLE)
    if named == "off":
        return None
    if named:
        return Path(named)
    base, home = environment.get("XDG_CACHE_HOME"), environment.get("HOME")
    return Path(base) / "dfm-analysis" if base else Path(home) / ".cache" / "dfm-analysis" if home else None


class Cache:
    """The cache of one experiment, or of a sweep's records, as it was at the beginning of a reading.

    It is a file that anybody may remove at any time; what is added is there for the next reading.
    """

    def __init__(self, folder: Path | None, uri: str = "", name: str = "") -> None:
        """Load what is cached under a name at an address. Args: folder: None to keep nothing."""
        identity = hashlib.sha256(f"{uri}\n{name}".encode()).hexdigest()
        self._seed = zlib.crc32(f"{_FORMAT}\n{identity}".encode())
        self.path = None if folder is None else folder / f"{identity[:24]}.db"
        self._fresh: list[Item] = []
        self._items = {} if self.path is None else self._load(self.path)

    def _load(self, path: Path) -> dict[tuple[str, str], Item]:
        try:
            return {(item.run, item.name): item for item in self._read(path)} if path.exists() else {}
        except (sqlite3.Error, ValueError) as error:
            _LOG.warning("%s: damaged (%s); it is thrown away and everything is read again", path, error)
        except OSError as error:
            _LOG.warning("%s: cannot be read (%s); everything is read again", path, error)
            return {}
        try:
            for end in ("", "-journal", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
        except OSError as error:
            _LOG.warning("%s: cannot be removed (%s)", path, error)
            self.path = None
        return {}

    def _read(self, path: Path) -> Iterator[Item]:
        """Raise ValueError at an item that is not as it was written here, by this version."""
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            for run, name, state, checksum, data in database.execute("SELECT * FROM items"):
                item = Item(run, name, state, data)
                if not isinstance(data, bytes) or self._checksum(item) != checksum:
                    raise ValueError(f"at {name} of run {run}, or of another experiment or version")
                yield item

    def _checksum(self, item: Item) -> int:
        return zlib.crc32(item.data, zlib.crc32(f"{item.run}\n{item.name}\n{item.state}".encode(), self._seed))

    def find(self, run: str, name: str, state: str) -> bytes | None:
        """Return the data of an item, if its run was then in this state."""
        item = self._items.get((run, name))
        return item.data if item is not None and item.state == state else None

    def of_name(self, name: str) -> Iterator[Item]:
        """Yield the item of each run that has one of this name."""
        return (item for item in self._items.values() if item.name == name)

    def add(self, item: Item) -> None:
        """Add an item, written when the reading is saved."""
        if self.path is not None:
            self._fresh.append(item)

    def save(self, runs: Collection[str]) -> None:
        """Write what was added; items of other runs than these, which are all that there are, are removed."""
        gone = {run for run, _ in self._items}.difference(runs)
        worth_it = len(self._fresh) >= WORTH_CACHING or bool(self._items)
        if self.path is None or not worth_it or not (self._fresh or gone):
            return
        rows = ((item.run, item.name, item.state, self._checksum(item), item.data) for item in self._fresh)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=5)) as database, database:
                database.execute(_TABLE)
                database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", rows)
                database.executemany("DELETE FROM items WHERE run = ?", [(run,) for run in gone])
        except (OSError, sqlite3.Error) as error:
            _LOG.warning("%s: cannot be written (%s); name another place in %s", self.path, error, FOLDER_VARIABLE)
