"""Regular files of a limited size: reading a pipe, a device or a file without end would not return."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

MOST_BYTES = 2**30


class IrregularFileError(ValueError):
    """A path leads to something that is not read."""


def check_regular(path: str | Path, most_bytes: int = MOST_BYTES) -> None:
    """Look before a file is read. Raises: FileNotFoundError and other errors of the system; IrregularFileError."""
    status = os.stat(path)  # noqa: PTH116  of a text or a path
    if not stat.S_ISREG(status.st_mode):
        raise IrregularFileError("is no regular file")
    if status.st_size > most_bytes:
        raise IrregularFileError(f"{status.st_size:,} bytes are more than the {most_bytes:,} allowed")


def read_file(filesystem: Any, path: str) -> bytes:
    """Read a file of an fsspec file system; a local one only if it is regular. Raises: as `check_regular`."""
    if "file" in tuple(filesystem.protocol):  # a single name is a text, whose letters are none
        check_regular(path)
    return bytes(filesystem.cat_file(path))
