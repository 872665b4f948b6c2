"""Files of tasks in a storage root, cached until they change."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from analysis.contract.regular_files import IrregularFileError, read_file
from analysis.tracking import cache
from analysis.tracking.cache import Cache, Item, cache_folder

_FILES_AT_ONCE = 16
_MARKS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated")
"""Entries of a file's listing of which one changes with the file, by backend."""


@dataclass(frozen=True)
class StorageRoot:
    """The place where the records of a sweep lie."""

    root: str
    """Folder or fsspec URL."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Passed to fsspec."""


class TaskFile(NamedTuple):
    """A file beside a task's record, or the record itself."""

    digest: str
    name: str

    @property
    def path(self) -> str:
        """Path under the storage root."""
        return f"results/{self.digest}/{self.name}"


class StoredFiles:
    """Files of some tasks. Methods raise the errors of the fsspec backend, of which each has its own family."""

    def __init__(self, storage: StorageRoot, digests: Collection[str], name: str) -> None:
        """Open the cache of this name, if there are enough tasks to need one.

        Args: digests: all tasks whose files will be read; what is cached of others is removed.
        """
        self._filesystem, root = url_to_fs(storage.root, **storage.options)
        self._root, self._digests = root.rstrip("/"), digests
        folder = cache_folder() if len(digests) >= cache.WORTH_CACHING else None
        self._cache = Cache(folder, self._filesystem.unstrip_protocol(root), name)
        self._is_local = isinstance(self._filesystem, LocalFileSystem)
        self._listing = None if folder is None or self._is_local else self._list_all()

    def _list_all(self) -> dict[str, Mapping[str, Any]]:
        """Return the entry of each file under results/, in a question for each thousand instead of one for each."""
        self._filesystem.invalidate_cache()
        listing: dict[str, Mapping[str, Any]] = self._filesystem.find(f"{self._root}/results", detail=True)
        return listing

    def read(self, files: Iterable[TaskFile], parse: Callable[[bytes], bytes] | None = None) -> dict[TaskFile, bytes]:
        """Return those of the files that exist, as `parse` makes them, which a cache keeps then."""
        cacheable = self._cache.path is not None and not (self._is_local and parse is None)
        states = {file: self._state(f"{self._root}/{file.path}") if cacheable else "" for file in files}
        contents = {file: self._cache.find(*file, state) if state else None for file, state in states.items()}
        missing = [file for file, state in states.items() if state is not None and contents[file] is None]
        # Files of this machine come at once: more threads than cores only wait for each other to parse them.
        num_threads = (os.cpu_count() or 1) if self._is_local else _FILES_AT_ONCE
        with ThreadPoolExecutor(num_threads) as pool:
            for file, data in zip(missing, pool.map(lambda file: self._content(file, parse), missing), strict=True):
                contents[file] = data
                if data is not None and states[file]:
                    self._cache.add(Item(*file, str(states[file]), data))
        return {file: data for file, data in contents.items() if data is not None}

    def _content(self, file: TaskFile, parse: Callable[[bytes], bytes] | None) -> bytes | None:
        try:
            data = read_file(self._filesystem, f"{self._root}/{file.path}")
        except FileNotFoundError:
            return None
        except IrregularFileError:
            return parse(b"") if parse else None
        return parse(data) if parse else data

    def _state(self, path: str) -> str | None:
        """Return a text that changes with a file; "" if the backend does not say enough, so that nothing is cached.

        Returns: None if there is no such file.
        """
        if self._listing is None:
            try:
                entry = Path(path).stat()
            except FileNotFoundError:
                return None
            return f"{entry.st_size} {entry.st_mtime_ns}"
        if path not in self._listing:
            return None
        listed = self._listing[path]
        mark = next((listed[name] for name in _MARKS if listed.get(name)), None)
        return "" if mark is None else f"{listed.get('size')} {mark}"

    def save(self) -> None:
        """Write the cache."""
        self._cache.save(self._digests)
