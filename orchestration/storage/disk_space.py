"""A full disk, said as such: before a file is written where that can be known, and instead of what libraries say."""

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
"""safetensors says it in words alone."""


class DiskFullError(Exception):
    """What is to be written does not fit; nothing of it stays."""


@contextmanager
def require_disk_space(what: str, num_bytes: int, *places: Path) -> Iterator[None]:
    """For the length of a `with` block that writes so many bytes into each of these directories.

    Raises: DiskFullError at once if one has less room, or when the disk turns out to be full.
    """
    for place in places:
        _look(what, num_bytes, place)
    try:
        yield
    except (OSError, SafetensorError) as error:
        if getattr(error, "errno", None) not in _FULL and not _FULL_TEXT.search(str(error)):
            raise
        raise DiskFullError(f"{what} does not fit: {_free(places)} ({error})") from None


def _look(what: str, num_bytes: int, place: Path) -> None:
    if shutil.disk_usage(_above(place)).free < num_bytes:
        raise DiskFullError(f"{what} needs {_mb(num_bytes)}; {_free((place,))}")


def _above(place: Path) -> Path:
    """The first directory on the way up that is there already."""
    return next(directory for directory in (place, *place.parents) if directory.is_dir())


def _free(places: tuple[Path, ...]) -> str:
    return ", ".join(f"{_mb(shutil.disk_usage(_above(place)).free)} are free at {place}" for place in places)


def _mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
