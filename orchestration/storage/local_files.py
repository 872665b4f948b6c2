"""Files in a directory of this machine, each written whole or not at all."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from orchestration.common.cleanup import always


class LocalFiles:
    """`Files` on a disk. A failure there does not pass by waiting, so nothing is tried twice."""

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

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
        return Path(path)

    def names(self, path: str) -> list[str]:
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def entries(self, path: str) -> list[tuple[str, int | None]]:
        try:
            with os.scandir(path) as entries:
                return sorted((entry.name, None if entry.is_dir() else _num_bytes(entry)) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []

    def num_bytes(self, path: str) -> int:
        try:
            return int(LocalFileSystem().du(path))
        except FileNotFoundError:
            return 0

    def remove(self, path: str) -> None:
        try:
            if Path(path).is_dir():
                shutil.rmtree(path)
            else:
                Path(path).unlink()
        except FileNotFoundError:
            return


def _num_bytes(entry: os.DirEntry[str]) -> int:
    """Return the size; 0 for a dangling link, which fails when it is opened."""
    try:
        return entry.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a partial file that replaces `path`, synced to the disk, when the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    with always(lambda: partial.unlink(missing_ok=True)):
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
