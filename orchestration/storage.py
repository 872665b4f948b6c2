"""One seam for files: any fsspec URL, artifacts published whole or not at all, checksums on every read.

An artifact is a directory whose `manifest.json`, written last, lists its files with size and sha256. Without a
manifest the directory does not exist for a reader; a file that differs from its manifest is never used.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem as FsspecLocalFileSystem

from orchestration.problems import UserError

MANIFEST = "manifest.json"


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


class Store:
    """Everything under one root. Paths are relative to it, with forward slashes."""

    def __init__(self, root: str, options: Mapping[str, str] | None = None) -> None:
        """root: an absolute directory or an fsspec URL; see `resolve_root`. options: passed to fsspec."""
        self.root = root.rstrip("/")
        self.options = dict(options or {})
        self._fs, self._base = fsspec.core.url_to_fs(self.root, **self.options)
        self.is_local = isinstance(self._fs, FsspecLocalFileSystem)

    def path(self, relative: str) -> str:
        """The file system's own path."""
        assert not relative.startswith("/"), f"{relative!r} must be relative to the store's root"
        assert ".." not in relative.split("/"), f"{relative!r} leaves the store"
        return f"{self._base}/{relative}"

    def uri(self, relative: str) -> str:
        return f"{self.root}/{relative}"

    def pyarrow_filesystem(self) -> Any:
        """The same file system for libraries that speak pyarrow (Ray Train), endpoint and credentials included."""
        from pyarrow.fs import FSSpecHandler, LocalFileSystem, PyFileSystem

        return LocalFileSystem() if self.is_local else PyFileSystem(FSSpecHandler(self._fs))

    def exists(self, relative: str) -> bool:
        return bool(self._fs.exists(self.path(relative)))

    def read(self, relative: str) -> bytes:
        """Raises: FileNotFoundError."""
        content: bytes = self._fs.cat_file(self.path(relative))
        return content

    def write(self, relative: str, content: bytes) -> None:
        """Writes a file whole or not at all."""
        target = self.path(relative)
        if not self.is_local:
            self._fs.pipe_file(target, content)
            return
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            with partial.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def put(self, local: Path, relative: str) -> None:
        """Copies a local file in; on a local root, atomically."""
        target = self.path(relative)
        if not self.is_local:
            self._fs.put_file(str(local), target)
            return
        path = Path(target)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            shutil.copyfile(local, partial)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def names(self, relative: str) -> list[str]:
        """Names of what lies directly in a directory, sorted; empty if there is none."""
        self._fs.invalidate_cache()
        try:
            found = self._fs.ls(self.path(relative), detail=False)
        except FileNotFoundError:
            return []
        return sorted(entry.rstrip("/").rsplit("/", 1)[-1] for entry in found)

    def num_bytes(self, relative: str) -> int:
        """Of a file, or of all files in a directory; 0 if there is none."""
        self._fs.invalidate_cache()
        try:
            return int(self._fs.du(self.path(relative), total=True))
        except FileNotFoundError:
            return 0

    def remove(self, relative: str) -> None:
        """Removes a file or a directory with everything in it; nothing if it is gone already."""
        with suppress(FileNotFoundError):
            self._fs.rm(self.path(relative), recursive=True)

    def publish(self, directory: str, entries: list[FileEntry], about: Mapping[str, Any] | None = None) -> None:
        """Makes an artifact visible: its files are in place, the manifest is written last."""
        document = {"files": [vars(entry) for entry in entries], "about": dict(about or {})}
        self.write(f"{directory}/{MANIFEST}", json.dumps(document, indent=1, sort_keys=True).encode())

    def manifest(self, directory: str) -> Mapping[str, Any] | None:
        """An artifact's manifest, or None if it is not published or its manifest cannot be read."""
        try:
            document = json.loads(self.read(f"{directory}/{MANIFEST}"))
            entries = [FileEntry(**entry) for entry in document["files"]]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return {"files": entries, "about": document.get("about", {})}

    @contextmanager
    def fetched(self, directory: str) -> Iterator[list[Path]]:
        """The verified files of an artifact, local for the length of a `with` block.

        Raises: FileNotFoundError if it is not published; DamagedArtifactError if a file is missing or has changed.
        """
        manifest = self.manifest(directory)
        if manifest is None:
            raise FileNotFoundError(f"no artifact at {self.uri(directory)}")
        with tempfile.TemporaryDirectory(prefix="dfm-fetch-") as scratch:
            paths = []
            for entry in manifest["files"]:
                name = Path(entry.name).name
                path = Path(self.path(f"{directory}/{name}")) if self.is_local else Path(scratch) / name
                try:
                    if not self.is_local:
                        self._fs.get_file(self.path(f"{directory}/{name}"), str(path))
                    found = FileEntry.of(path)
                except FileNotFoundError:
                    raise DamagedArtifactError(f"{self.uri(directory)}: {name} is missing") from None
                if found != FileEntry(name, entry.num_bytes, entry.sha256):
                    raise DamagedArtifactError(f"{self.uri(directory)}: {name} is not what its manifest says")
                paths.append(path)
            yield paths


def check_writable(store: Store) -> None:
    """Writes, reads back and removes a probe.

    Raises: UserError if the storage cannot be used.
    """
    probe = f".write-check-{uuid.uuid4().hex}"
    try:
        store.write(probe, b"dfm")
        content = store.read(probe)
        store.remove(probe)
    except Exception as error:  # noqa: BLE001  any storage library, any reason: all mean "cannot be used"
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError.of("storage.root", f"cannot write to {store.root} ({reason})") from None
    if content != b"dfm":
        raise UserError.of("storage.root", f"{store.root} does not give back what was written")


ROOT_VARIABLE = "DFM_STORAGE_ROOT"
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this for the driver of a submitted job."""


def resolve_root(configured: str, default: str, environment: Mapping[str, str], working_directory: Path) -> str:
    """The absolute storage root: the config's, unless it says nothing else and the environment names one.

    Inside a Ray job the working directory is a copy that is thrown away, so a relative root is refused there.

    Raises: UserError for a relative root inside a Ray job.
    """
    root = environment.get(ROOT_VARIABLE, configured) if configured == default else configured
    protocol, separator, rest = root.partition("://")
    if separator and not (protocol and rest.strip("/")):
        raise UserError.of(
            "storage.root", f"{root!r} names no place; give a directory or a URL such as s3://bucket/dfm"
        )
    if separator:
        return root.rstrip("/")
    root = str(Path(root).expanduser())
    if Path(root).is_absolute():
        return root
    if JOB_VARIABLE in environment:
        raise UserError.of(
            "storage.root",
            f"{root!r} is relative, but inside a Ray job the working directory is thrown away; give an absolute "
            f"directory or a URL (storage.root=s3://bucket/prefix), or start the cluster with {ROOT_VARIABLE} set",
        )
    return str((working_directory / root).resolve())
