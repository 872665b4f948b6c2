"""Full disks: detected before a file is written where possible, and told apart from other errors of libraries."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXT = re.compile(r"No space left|Disk quota exceeded|File too large|os error (28|122|27)\b")
"""Messages of safetensors, which gives no errno."""


class DiskFullError(Exception):
    """The bytes to write do not fit; none of them stay."""


@contextmanager
def require_disk_space(what: str, num_bytes: int, *places: Path) -> Iterator[None]:
    """Guard a `with` block that writes so many bytes into each of these directories.

    Raises: DiskFullError at once if one has less room, or when the disk turns out to be full.
    """
    for place in places:
        _check(what, num_bytes, place)
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in _FULL and not _FULL_TEXT.search(str(error)):
            raise
        raise DiskFullError(f"{what} does not fit: {_free(places)} ({error})") from None


def _check(what: str, num_bytes: int, place: Path) -> None:
    if shutil.disk_usage(_above(place)).free < num_bytes:
        raise DiskFullError(f"{what} needs {_mb(num_bytes)}; {_free((place,))}")


def _above(place: Path) -> Path:
    """Return the nearest directory at or above `place` that exists."""
    return next(directory for directory in (place, *place.parents) if directory.is_dir())


def _free(places: tuple[Path, ...]) -> str:
    return ", ".join(f"{_mb(shutil.disk_usage(_above(place)).free)} are free at {place}" for place in places)


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
