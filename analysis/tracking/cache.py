"""A file in the user's cache directory that holds what was read of runs and records until these change."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

FOLDER_VARIABLE = "DFM_ANALYSIS_CACHE"
"""Another folder, or "off"."""
WORTH_CACHING = 200
"""Fewer items make no cache: they are read again in no time."""
_LOG = logging.getLogger("analysis")
_FORMAT = "dfm analysis, format 1"
_TABLES = """
CREATE TABLE about (format TEXT NOT NULL, experiment TEXT NOT NULL);
CREATE TABLE items (run TEXT, name TEXT, state TEXT NOT NULL, checksum INTEGER NOT NULL, data BLOB NOT NULL,
                    PRIMARY KEY (run, name));
"""


class Item(NamedTuple):
    """Something that was read of a run or task, while it was in a state."""

    run: str
    """Id of the run, or digest of the task."""
    name: str
    state: str
    data: bytes


class UnusableCacheError(Exception):
    """The cache is damaged or not ours; the message says which."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return the folder of caches; None if they are turned off or there is no such place."""
    named = environment.get(FOLDER_VARIABLE)
    if named == "off":
        return None
    if named:
        return Path(named)
    base, home = environment.get("XDG_CACHE_HOME"), environment.get("HOME")
    return Path(base) / "dfm-analysis" if base else Path(home) / ".cache" / "dfm-analysis" if home else None


class ReadingCache:
    """The cache of one experiment, or of a sweep's records: a file that anybody may remove at any time."""

    def __init__(self, folder: Path, uri: str, name: str) -> None:
        self._identity = hashlib.sha256(f"{uri}\n{name}".encode()).hexdigest()
        self.path = folder / f"{self._identity[:24]}.db"

    def items(self) -> Iterator[Item]:
        """Yield everything. Raises: UnusableCacheError, OSError."""
        if not self.path.exists():
            return
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
                if database.execute("SELECT format, experiment FROM about").fetchall() != [(_FORMAT, self._identity)]:
                    raise UnusableCacheError("of another experiment or version")
                for run, name, state, checksum, data in database.execute("SELECT * FROM items"):
                    item = Item(run, name, state, data)
                    if not isinstance(data, bytes) or _checksum(item) != checksum:
                        raise UnusableCacheError(f"damaged at {name} of run {run}")
                    yield item
        except sqlite3.Error as error:
            raise UnusableCacheError(f"damaged ({error})") from error

    def remove(self) -> None:
        """Remove the file. Raises: OSError."""
        for path in (self.path, *(self.path.with_name(self.path.name + end) for end in ("-journal", "-wal", "-shm"))):
            path.unlink(missing_ok=True)

    def add(self, items: Iterable[Item], runs: Iterable[str]) -> None:
        """Write items; those of other runs than `runs`, which are all that the experiment has, are removed.

        Raises: OSError, sqlite3.Error; the cache is then unchanged.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=5)) as database, database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'items'").fetchone():
                database.executescript(_TABLES)
                database.execute("INSERT INTO about VALUES (?, ?)", (_FORMAT, self._identity))
            rows = ((item.run, item.name, item.state, _checksum(item), item.data) for item in items)
            database.executemany("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?)", rows)
            existing = set(runs)
            held = [run for (run,) in database.execute("SELECT DISTINCT run FROM items")]
            database.executemany("DELETE FROM items WHERE run = ?", [(run,) for run in held if run not in existing])


def _checksum(item: Item) -> int:
    return zlib.crc32(item.data, zlib.crc32(f"{item.run}\n{item.name}\n{item.state}".encode()))


class CacheSession:
    """A cache as it was at the beginning of a reading; what is added is there for the next one."""

    def __init__(self, cache: ReadingCache | None) -> None:
        self._cache = cache
        self._items = self._load()
        self._fresh: list[Item] = []

    @classmethod
    def open(cls, uri: str, name: str) -> CacheSession:
        """Open the user's cache of a name at an address, or none if caches are turned off."""
        folder = cache_folder()
        return cls(ReadingCache(folder, uri, name) if folder else None)

    @property
    def is_on(self) -> bool:
        """Return whether additions are there for the next reading."""
        return self._cache is not None

    def _load(self) -> dict[tuple[str, str], Item]:
        if self._cache is None:
            return {}
        try:
            return {(item.run, item.name): item for item in self._cache.items()}
        except UnusableCacheError as error:
            _LOG.warning("%s: %s; it is thrown away and everything is read again", self._cache.path, error)
        except OSError as error:
            _LOG.warning("%s: cannot be read (%s); everything is read again", self._cache.path, error)
            return {}
        try:
            self._cache.remove()
        except OSError as error:
            _LOG.warning("%s: cannot be removed (%s)", self._cache.path, error)
            self._cache = None
        return {}

    def find(self, run_id: str, name: str, state: str) -> bytes | None:
        """Return the data of an item, if its run was then in this state."""
        item = self._items.get((run_id, name))
        return item.data if item is not None and item.state == state else None

    def of_name(self, name: str) -> Iterator[Item]:
        """Yield the item of each run that has one of this name."""
        return (item for item in self._items.values() if item.name == name)

    def add(self, item: Item) -> None:
        """Add an item, written when the reading is saved."""
        if self._cache is not None:
            self._fresh.append(item)

    def save(self, runs: Collection[str]) -> None:
        """Write what was added; items of other runs than these, which are all that there are, are removed."""
        if self._cache is None or (len(self._fresh) < WORTH_CACHING and not self._items):
            return
        held = {run for run, _ in self._items}
        if not self._fresh and held <= set(runs):
            return
        try:
            self._cache.add(self._fresh, runs)
        except (OSError, sqlite3.Error) as error:
            _LOG.warning(
                "%s: cannot be written (%s); name another place in %s", self._cache.path, error, FOLDER_VARIABLE
            )
