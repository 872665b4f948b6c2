"""A bounded folder of verified shards, shared by all processes of a node.

Shards are named by their checksum, so that stores share what they have in common and nothing stale can be found. A
shard is fetched by one process while the others wait for it, is verified once, and appears whole. What was used least
recently makes room. Locks are the kernel's: a process that is killed leaves none behind, and what it had fetched of a
shard is removed by the next one that needs room.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from dfm_core.data.latents.manifest import DamagedLatentsError, ShardEntry
from dfm_core.data.latents.shards import sha256_of

_SUFFIX, _PARTIAL = ".safetensors", ".partial"
_TRIES = 3
"""A transfer can go wrong on its way; a file that is wrong three times is wrong where it lies."""
_FULL = (errno.ENOSPC, errno.EDQUOT)
_WAIT_SECONDS = 0.05


class CacheFullError(Exception):
    """There is no room for a shard, and nothing can be removed to make it."""


class ShardSource(Protocol):
    """Source of the shards of a store."""

    @property
    def place(self) -> str:
        """Name of the place, for messages."""

    def local_path(self, name: str) -> Path | None:
        """Return the path of a shard that this machine can read in place, else None."""

    def fetch(self, name: str, scratch: Path, num_bytes: int) -> Path:
        """Copies a shard of so many bytes into `scratch`, patiently. Raises: FileNotFoundError."""


class ShardCache:
    """Shards in `folder`, of at most `max_bytes` together."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        (folder / "locks").mkdir(parents=True, exist_ok=True)

    def get(self, source: ShardSource, entry: ShardEntry) -> Path:
        """Return a verified shard's path. It may be removed at any time after; who has opened it keeps it.

        Raises: DamagedLatentsError if it is missing or not what the manifest says; CacheFullError; what `source` does.
        """
        local = source.local_path(entry.name)
        path = local or self.folder / f"{entry.sha256}{_SUFFIX}"
        if local is None and touched(path):
            return path
        with self._lock(entry.sha256):
            if local is not None:
                self._verify_in_place(local, source, entry)
            elif not touched(path):
                self._fetch(path, source, entry)
        return path

    def _lock(self, name: str) -> FileLock:
        return FileLock(self.folder / "locks" / name)

    def _verify_in_place(self, local: Path, source: ShardSource, entry: ShardEntry) -> None:
        """Once per node: a file that is still the one that was verified is not read again."""
        mark = self.folder / f"{entry.sha256}.verified"
        with suppress(FileNotFoundError):
            status = local.stat()
            seen = f"{local} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
            if mark.exists() and mark.read_text(encoding="utf-8") == seen:
                return
        if problem := _problem(local, entry):
            raise DamagedLatentsError(f"{source.place}/{entry.name}: {problem}")
        mark.write_text(seen, encoding="utf-8")

    def _fetch(self, path: Path, source: ShardSource, entry: ShardEntry) -> None:
        problem = ""
        for _ in range(_TRIES):
            with self._reserved(entry) as scratch:
                try:
                    fetched = source.fetch(entry.name, scratch, entry.num_bytes)
                except FileNotFoundError:
                    raise DamagedLatentsError(f"{source.place}/{entry.name}: is missing") from None
                except OSError as error:
                    if error.errno in _FULL:
                        raise CacheFullError(self._full(entry, "its disk is full")) from None
                    raise
                problem = _problem(fetched, entry)
                if not problem:
                    fetched.replace(path)
                    return
        raise DamagedLatentsError(f"{source.place}/{entry.name}: {problem} (fetched {_TRIES} times)")

    @contextmanager
    def _reserved(self, entry: ShardEntry) -> Iterator[Path]:
        """Return a folder for the download, for which there is room. Its name says how much."""
        scratch = self.folder / f"{entry.sha256}.{entry.num_bytes}.{uuid.uuid4().hex}{_PARTIAL}"
        while not self._reserve(scratch, entry):
            time.sleep(_WAIT_SECONDS)
        try:
            yield scratch
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _reserve(self, scratch: Path, entry: ShardEntry) -> bool:
        """False: other downloads hold the room that this one needs; ask again. Raises: CacheFullError."""
        with self._lock("room"):
            under_way = self._under_way(entry)
            kept = sorted(self.folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime_ns)
            used = under_way + sum(path.stat().st_size for path in kept)
            while used + entry.num_bytes > self.max_bytes or self._free_bytes() < entry.num_bytes:
                if not kept:
                    if under_way:
                        return False
                    raise CacheFullError(self._full(entry, f"it may hold {self.max_bytes}"))
                oldest = kept.pop(0)
                used -= oldest.stat().st_size
                oldest.unlink()
            scratch.mkdir()
        return True

    def _under_way(self, entry: ShardEntry) -> int:
        """Return the bytes that downloads have reserved. Removes abandoned ones."""
        total = 0
        for partial in self.folder.glob(f"*{_PARTIAL}"):
            sha256, num_bytes, _ = partial.name.split(".", 2)
            abandoned = sha256 == entry.sha256  # its lock is ours, so whoever began is gone
            if not abandoned:
                with suppress(Timeout), self._lock(sha256).acquire(timeout=0):
                    abandoned = True
            if abandoned:
                shutil.rmtree(partial, ignore_errors=True)
            else:
                total += int(num_bytes)
        return total

    def _free_bytes(self) -> int:
        return shutil.disk_usage(self.folder).free

    def _full(self, entry: ShardEntry, why: str) -> str:
        return (
            f"{self.folder}: no room for {entry.name} ({entry.num_bytes} bytes): {why}, {self._free_bytes()} bytes are "
            "free on its disk; give the cache more room or another folder"
        )


def _problem(path: Path, entry: ShardEntry) -> str:
    """Return what is wrong with a file; empty if nothing is."""
    try:
        num_bytes = path.stat().st_size
    except FileNotFoundError:
        return "is missing"
    if num_bytes != entry.num_bytes:
        cut = "is cut off" if num_bytes < entry.num_bytes else "is too long"
        return f"{cut}: {num_bytes} bytes, its manifest says {entry.num_bytes}"
    if (sha256 := sha256_of(path)) != entry.sha256:
        return f"has another content: sha256 {sha256}, its manifest says {entry.sha256}"
    return ""


def touched(path: Path) -> bool:
    """Marks a file as used now; False if it is not there."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
