"""Files in a directory of this machine, each written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Literal

from fsspec.implementations.local import LocalFileSystem

from analysis.contract.regular_files import IrregularFileError, check_regular
from orchestration.common.cleanup import always
from orchestration.parsing.documents import DamagedDocumentError

EntrySize = int | str | None
"""Bytes of a file; None: a directory; text: why it is neither."""


class LocalFiles:
    """`Files` on a disk. A failure there does not pass by waiting, so nothing is tried twice."""

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def read(self, path: str) -> bytes:
        return _no_device(Path(path)).read_bytes()

    def read_range(self, path: str, begin: int, end: int) -> bytearray:
        content = bytearray(end - begin)
        with _no_device(Path(path)).open("rb") as file:
            file.seek(begin)
            del content[file.readinto(content) :]
        return content

    def check_document(self, path: str) -> None:
        try:
            check_regular(path)
        except IrregularFileError as error:
            raise DamagedDocumentError(str(error)) from None

    def write(self, path: str, content: bytes) -> None:
        with _replacing(Path(path)) as partial:
            partial.write_bytes(content)

    def create(self, path: str, content: bytes) -> bool:
        place = Path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        partial = place.with_name(f".{place.name}.{uuid.uuid4().hex}.partial")
        try:
            with always(lambda: partial.unlink(missing_ok=True)):
                partial.write_bytes(content)
                _sync(partial)
                try:
                    place.hardlink_to(partial)  # whole, and unlike a rename never in the place of another
                except FileExistsError:
                    return False
                except OSError:  # a file system without links; a kill may leave the file empty
                    with place.open("xb") as file:
                        file.write(content)
        except FileExistsError:
            return False
        return True

    def put(self, local: Path, path: str) -> None:
        with _replacing(Path(path)) as partial:
            shutil.copyfile(local, partial)

    def fetch(self, path: str, scratch: Path, num_bytes: int) -> Path:  # noqa: ARG002  a local file need not be copied
        return _no_device(Path(path))

    def names(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def entries(self, path: str) -> list[tuple[str, EntrySize]]:
        try:
            with os.scandir(path) as entries:
                return sorted(((entry.name, _size(entry)) for entry in entries), key=itemgetter(0))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def num_bytes(self, path: str) -> int:
        try:
            return int(LocalFileSystem().du(path))
        except FileNotFoundError:
            return 0

    def kind(self, path: str) -> Literal["directory", "link", "other"]:
        if Path(path).is_symlink():
            return "link"
        return "directory" if Path(path).is_dir() else "other"

    def remove(self, path: str) -> None:
        try:
            if self.kind(path) == "directory":
                shutil.rmtree(path)
            else:
                Path(path).unlink()
        except FileNotFoundError:
            return


def _size(entry: os.DirEntry[str]) -> EntrySize:
    try:
        if entry.is_dir():
            return (
                "is a link to a folder that it lies in" if entry.is_symlink() and _leads_up(Path(entry.path)) else None
            )
        status = entry.stat()
    except FileNotFoundError:
        return "is a link that leads nowhere"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return status.st_size if stat.S_ISREG(status.st_mode) else "is no regular file"


def _leads_up(link: Path) -> bool:
    return link.parent.resolve().is_relative_to(link.resolve())


def _no_device(path: Path) -> Path:
    """Return the path. Raises: FileNotFoundError for a pipe, socket or device: reading one may never end."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileNotFoundError(errno.ENOENT, "is no regular file", str(path))
    return path


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a partial file that replaces `path`, synced to the disk, when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    with always(lambda: partial.unlink(missing_ok=True)):
        yield partial
        _sync(partial)
        partial.replace(path)


def _sync(path: Path) -> None:
    """Return when a file is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
