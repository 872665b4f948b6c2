"""Temporary folders that a killed process leaves to nobody: the next one of the same purpose removes them.

A worker that is killed while it writes a checkpoint leaves a shard, on a node of eight GPUs tens of GB at each kill.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX, _LOCK = "dfm-", ".lock"


@contextlib.contextmanager
def scratch_folder(purpose: str) -> Iterator[Path]:
    """Yield a new folder below the temporary one, only for this user, and remove it after the block.

    It is held by a lock beside it, which ends with the process, in other containers on this disk too: a folder whose
    lock is free was left behind, and is removed first. Raises: OSError if it cannot be made.

    Args: purpose: part of its name, e.g. "checkpoint".
    """
    place = Path(tempfile.gettempdir())
    _remove_left_behind(place, purpose)
    folder = place / f"{_PREFIX}{purpose}-{uuid.uuid4().hex[:12]}"
    with FileLock(folder.with_suffix(_LOCK), mode=0o600):
        try:
            folder.mkdir(mode=0o700)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(_LOCK).unlink(missing_ok=True)


def _remove_left_behind(place: Path, purpose: str) -> None:
    for lock in place.glob(f"{_PREFIX}{purpose}-*{_LOCK}"):
        with contextlib.suppress(OSError, Timeout):  # another user's, or in use
            if lock.stat().st_uid == os.getuid():
                with FileLock(lock, timeout=0):
                    shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                    lock.unlink(missing_ok=True)
