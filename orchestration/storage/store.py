"""One interface for files: any fsspec URL, artifacts published whole or not at all, checksums on every read.

An artifact is a directory whose `manifest.json`, written last, lists its files with size and sha256. Without a
manifest the directory does not exist for a reader; a file that differs from its manifest is never used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem as FsspecLocalFileSystem

from orchestration.parsing.documents import parse_document
from orchestration.storage.local_files import EntrySize, LocalFiles
from orchestration.storage.remote_files import RemoteFiles
from orchestration.storage.retry import RetryPolicy
from orchestration.storage.safe_names import safe_join, safe_name
from orchestration.storage.scratch import scratch_folder

MANIFEST = "manifest.json"
EntryKind = Literal["directory", "link", "other"]
_DEEPEST = 16
_LISTED_AT_ONCE = 16
"""Directories of a remote storage; each call waits for its answer."""


class DamagedArtifactError(Exception):
    """An artifact's files are not what its manifest says."""


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact."""

    name: str
    num_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.name, path.stat().st_size, digest)


class Files(Protocol):
    """The file operations that a store needs; paths are the file system's own."""

    def exists(self, path: str) -> bool: ...

    def read(self, path: str) -> bytes:
        """Read a file. Raises: FileNotFoundError."""

    def read_range(self, path: str, begin: int, end: int) -> bytearray:
        """Read the bytes of a file from a position up to another; fewer if it is shorter. Raises: FileNotFoundError."""

    def check_document(self, path: str) -> None:
        """Look before a document is read. Raises: FileNotFoundError; DamagedDocumentError: it is none, or too long."""

    def write(self, path: str, content: bytes) -> None:
        """Write a file whole or not at all."""

    def create(self, path: str, content: bytes) -> bool:
        """Write a file unless it exists, then return False. Of several concurrent writers one succeeds."""

    def put(self, local: Path, path: str) -> None:
        """Copy a local file in, whole or not at all."""

    def fetch(self, path: str, scratch: Path, num_bytes: int) -> Path:
        """Return a local copy of a file of about so many bytes: itself if it is local, else a copy under `scratch`.

        Raises: FileNotFoundError.
        """

    def names(self, path: str) -> list[str]:
        """Return the names directly in a directory, sorted; empty if there is none."""

    def entries(self, path: str) -> list[tuple[str, EntrySize]]:
        """Return name and size of the entries of a directory, sorted."""

    def num_bytes(self, path: str) -> int:
        """Return the size of a file, or of all files in a directory; 0 if there is none."""

    def kind(self, path: str) -> EntryKind:
        """Return what is at a path."""

    def remove(self, path: str) -> None:
        """Remove a file, a link or a directory with everything in it; nothing if it is gone already."""


class Store:
    """Everything under one root. Paths are relative to it, with forward slashes.

    Every method raises StorageUnavailableError when a remote root does not answer for as long as `retry_policy` says,
    and PermissionError, at once, when it refuses.
    """

    def __init__(
        self, root: str, options: Mapping[str, str] | None = None, retry_policy: RetryPolicy | None = None
    ) -> None:
        """Args: root: an absolute directory or an fsspec URL; see `resolve_root`. options: passed to fsspec."""
        self.root = root.rstrip("/")
        self.options = dict(options or {})
        self.retry_policy = retry_policy or RetryPolicy()
        # Without its cache of listings: files of other processes must be seen.
        self._fs, self._base = fsspec.core.url_to_fs(self.root, use_listings_cache=False, **self.options)
        self.is_local = isinstance(self._fs, FsspecLocalFileSystem)
        self._files: Files = LocalFiles() if self.is_local else RemoteFiles(self._fs, self.retry_policy, self.options)

    def path(self, relative: str) -> str:
        """Return the file system's own path. Raises: ValueError if it is not below the root."""
        return safe_join(self._base, relative)

    def local_directories(self) -> tuple[Path, ...]:
        """Return the directories of this machine whose disk space writing takes: the root, or none if it is remote."""
        return (Path(self._base),) if self.is_local else ()

    def uri(self, relative: str) -> str:
        return f"{self.root}/{relative}"

    def pyarrow_filesystem(self) -> Any:
        """Return the file system for libraries that speak pyarrow (Ray Train), endpoint and credentials included."""
        from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

        return LocalFileSystem() if self.is_local else PyFileSystem(FSSpecHandler(self._fs))

    def exists(self, relative: str) -> bool:
        return self._files.exists(self.path(relative))

    def read(self, relative: str) -> bytes:
        """Read a file. Raises: FileNotFoundError."""
        return self._files.read(self.path(relative))

    def read_range(self, relative: str, begin: int, end: int) -> bytearray:
        """Read the bytes of a file from a position up to another; fewer if it is shorter. Raises: FileNotFoundError."""
        return self._files.read_range(self.path(relative), begin, end)

    def read_document(self, relative: str) -> bytes:
        """Read a file that holds a document. Raises: FileNotFoundError; DamagedDocumentError: it cannot be one."""
        self._files.check_document(self.path(relative))
        return self.read(relative)

    def write(self, relative: str, content: bytes) -> None:
        """Write a file whole or not at all."""
        self._files.write(self.path(relative), content)

    def create(self, relative: str, content: bytes) -> bool:
        """Write a file unless it exists, and return whether it was written; of concurrent writers one succeeds.

        On S3 that is a conditional PUT, which servers know since 2024; on a storage without any such call it is a look
        before the write.
        """
        return self._files.create(self.path(relative), content)

    def put(self, local: Path, relative: str) -> None:
        """Copy a local file in, whole or not at all."""
        self._files.put(local, self.path(relative))

    def fetch(self, relative: str, scratch: Path, num_bytes: int) -> Path:
        """Return a local copy of a file, not verified; see `Files.fetch`. Raises: FileNotFoundError."""
        return self._files.fetch(self.path(relative), scratch, num_bytes)

    def names(self, relative: str) -> list[str]:
        """Return the names directly in a directory, sorted; empty if there is none."""
        return self._files.names(self.path(relative))

    def tree(self, closed: Callable[[str], object] = lambda _: False) -> dict[str, EntrySize]:
        """Return everything under the root by path, with its size.

        Args: closed: says of the name of a directory that what is in it is not wanted.
        Raises: RecursionError for directories without end, as links can make them.
        """
        sizes: dict[str, EntrySize] = {}
        level = [""]
        with ThreadPoolExecutor(1 if self.is_local else _LISTED_AT_ONCE) as threads:
            while level:
                if level[0].count("/") > _DEEPEST:
                    raise RecursionError(f"{self.uri(level[0])}: more than {_DEEPEST} directories deep")
                places = [f"{self._base}/{directory}".rstrip("/") for directory in level]
                below = []
                for directory, entries in zip(level, threads.map(self._files.entries, places), strict=True):
                    for name, num_bytes in entries:
                        sizes[f"{directory}{name}"] = num_bytes
                        if num_bytes is None and not closed(name):
                            below.append(f"{directory}{name}/")
                level = below
        return sizes

    def num_bytes(self, relative: str) -> int:
        """Return the size of a file, or of all files in a directory; 0 if there is none."""
        return self._files.num_bytes(self.path(relative))

    def kind(self, relative: str) -> EntryKind:
        """Return what is at a path; a remote storage has directories alone."""
        return self._files.kind(self.path(relative))

    def remove(self, relative: str) -> None:
        """Remove a file, a link or a directory with everything in it; nothing if it is gone already."""
        self._files.remove(self.path(relative))

    def publish(
        self,
        directory: str,
        entries: Sequence[FileEntry],
        about: Mapping[str, Any] | None = None,
        *,
        may_replace: bool = True,
    ) -> bool:
        """Make an artifact visible, whose files are in place, by writing its manifest.

        Args: may_replace: if not, one that is published already stays. Returns: whether this one is published.
        """
        document: dict[str, Any] = {"files": [vars(entry) for entry in entries], "about": dict(about or {})}
        document["sha256"] = _digest_of(document)
        content = json.dumps(document, indent=1, sort_keys=True).encode()
        place = f"{directory}/{MANIFEST}"
        if not may_replace:
            if self.create(place, content):
                return True
            if self.manifest(directory) is not None:
                return False
        self.write(place, content)  # also in the place of one that was cut off
        return True

    def remove_artifact(self, directory: str) -> None:
        """Remove an artifact, its manifest first: a removal that is cut off leaves no damaged artifact."""
        self.remove(f"{directory}/{MANIFEST}")
        self.remove(directory)

    def manifest(self, directory: str) -> Mapping[str, Any] | None:
        """Return an artifact's manifest, or None if it is not published or its manifest cannot be read."""
        try:
            document = parse_document(self.read_document(f"{directory}/{MANIFEST}"), finite=False)
            expected = document.pop("sha256", None)  # release 0.1.0 wrote none
            if expected not in (None, _digest_of(document)):
                return None
            entries = [FileEntry(**entry) for entry in document["files"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return {"files": entries, "about": document.get("about", {})}

    @contextmanager
    def fetched(self, directory: str, names: Collection[str] | None = None) -> Iterator[list[Path]]:
        """Give the verified files of an artifact as local ones for a `with` block.

        Args: names: of the files that are needed, if the artifact has them; None: all.
        Raises: FileNotFoundError if it is not published; DamagedArtifactError if a file is missing or has changed.
        """
        manifest = self.manifest(directory)
        if manifest is None:
            raise FileNotFoundError(f"no artifact at {self.uri(directory)}")
        with scratch_folder("fetch") as scratch:
            needed = [entry for entry in manifest["files"] if names is None or entry.name in names]
            yield [self._verified(directory, entry, scratch) for entry in needed]

    def _verified(self, directory: str, entry: FileEntry, scratch: Path) -> Path:
        try:
            name = safe_name(entry.name)
        except ValueError as error:
            raise DamagedArtifactError(f"{self.uri(directory)}: its manifest leads elsewhere ({error})") from None
        try:
            path = self._files.fetch(self.path(f"{directory}/{name}"), scratch, entry.num_bytes)
            is_whole = path.stat().st_size == entry.num_bytes and FileEntry.of(path).sha256 == entry.sha256
        except FileNotFoundError:
            raise DamagedArtifactError(f"{self.uri(directory)}: {name} is missing") from None
        if not is_whole:
            raise DamagedArtifactError(f"{self.uri(directory)}: {name} is not what its manifest says")
        return path


def _digest_of(manifest: Mapping[str, Any]) -> str:
    """Return the digest of a manifest's own content, which no other file vouches for."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
