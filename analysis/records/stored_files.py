"""Files of tasks in a storage root, cached until they change."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from analysis.contract.regular_files import IrregularFileError, read_file
from analysis.tracking import cache
from analysis.tracking.cache import CacheSession, Item

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
        self._is_local = isinstance(self._filesystem, LocalFileSystem)
        uri = self._filesystem.unstrip_protocol(root)
        self._cache = CacheSession.open(uri, name) if len(digests) >= cache.WORTH_CACHING else CacheSession(None)
        self._states = self._listed() if self._cache.is_on and not self._is_local else None

    def _listed(self) -> dict[str, str]:
        """Return the state of each file under results/, in a question for each thousand instead of one for each."""
        self._filesystem.invalidate_cache()
        listing = self._filesystem.find(f"{self._root}/results", detail=True)
        return {path: _state(entry) for path, entry in listing.items()}

    def read(self, files: Iterable[TaskFile], parse: Callable[[bytes], bytes] | None = None) -> dict[TaskFile, bytes]:
        """Return those of the files that exist, as `parse` makes them, which a cache keeps then."""
        files = list(files)
        with ThreadPoolExecutor(_FILES_AT_ONCE) as pool:
            contents = list(pool.map(lambda file: self._content(file, parse), files))
        return {file: content for file, content in zip(files, contents, strict=True) if content is not None}

    def _content(self, file: TaskFile, parse: Callable[[bytes], bytes] | None) -> bytes | None:
        path = f"{self._root}/{file.path}"
        cacheable = self._cache.is_on and not (self._is_local and parse is None)
        try:
            state = self._state_of(path) if cacheable else ""
            content = self._cache.find(file.digest, file.name, state) if state else None
            if content is None:
                data = read_file(self._filesystem, path)
                content = parse(data) if parse else data
                if state:
                    self._cache.add(Item(file.digest, file.name, state, content))
        except FileNotFoundError:
            return None
        except IrregularFileError:
            return parse(b"") if parse else None
        return content

    def _state_of(self, path: str) -> str:
        """Return the state of a file before it is read. Raises: FileNotFoundError."""
        if self._states is None:
            return _state(self._filesystem.info(path))
        if path not in self._states:
            raise FileNotFoundError(path)
        return self._states[path]

    def save(self) -> None:
        """Write the cache."""
        self._cache.save(self._digests)


def _state(entry: Mapping[str, Any]) -> str:
    """Return a text that changes with a file; "" if the backend does not say enough, so that nothing is cached."""
    mark = next((entry[name] for name in _MARKS if entry.get(name)), None)
    return "" if mark is None else f"{entry.get('size')} {mark}"
