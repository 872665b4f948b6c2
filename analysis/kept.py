"""What a reading finds in the cache and adds to it. Without a cache, or with one that is damaged, it finds nothing."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator

from analysis.reading_cache import Item, ReadingCache, UnusableCacheError

_WORTH_KEEPING = 200
"""Of fewer things that were read no cache is made: reading them again is no wait."""
_LOG = logging.getLogger("analysis")


class Kept:
    """The cache of an experiment as it is at the beginning of a reading; what is added is there for the next one."""

    def __init__(self, cache: ReadingCache | None) -> None:
        self._cache = cache
        self._items = self._load()
        self._fresh: list[Item] = []

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
        """What was kept of a run, if it was then in this state."""
        item = self._items.get((run_id, name))
        return item.data if item is not None and item.state == state else None

    def of_name(self, name: str) -> Iterator[Item]:
        """What was kept under a name, of each run."""
        return (item for item in self._items.values() if item.name == name)

    def add(self, item: Item) -> None:
        """Keep something, once the reading is saved."""
        if self._cache is not None:
            self._fresh.append(item)

    def save(self, runs: Collection[str]) -> None:
        """Write what was added; what is kept of other runs than these, all that the experiment has, goes."""
        if self._cache is None or (len(self._fresh) < _WORTH_KEEPING and not self._items):
            return
        held = {run for run, _ in self._items}
        if not self._fresh and held <= set(runs):
            return
        try:
            self._cache.add(self._fresh, runs)
        except (OSError, sqlite3.Error) as error:
            _LOG.warning("%s: cannot be written (%s); the next reading takes as long", self._cache.path, error)
