"""Images in tar files: WebDataset's shards (`key.jpg` beside `key.cls`), and ImageNet's own, one tar for each class.

Nothing is unpacked: members are read as they come, and their names are names, not paths.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import PurePosixPath
from typing import BinaryIO

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import EXTENSIONS, MAX_FILE_BYTES
from dfm_core.data.files.left_behind import as_left_behind, left_behind
from dfm_core.data.files.raw_samples import RawSample

_LABEL = "cls"
_MAX_LABEL_BYTES = 32


def tar_samples(file: BinaryIO, name: str, num_classes: int, class_of_all: int | None) -> Iterator[RawSample | BadFile]:
    """Yield the images of a tar in their order.

    Args: file: an uncompressed tar, seekable. name: for messages. class_of_all: of the tar's images, where they have
        no `key.cls`.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            yield from _grouped(tar, name, num_classes, class_of_all)
            file.seek(tar.offset)
    except tarfile.TarError as error:
        yield BadFile(name, "damaged", f"is no uncompressed tar, or cut off ({error})", holds_many=True)
        return
    # Python takes the end of the file for the end of the archive, which two blocks of zeros mark.
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        yield BadFile(name, "damaged", "is cut off: its end is not marked", holds_many=True)


def _grouped(
    tar: tarfile.TarFile, name: str, num_classes: int, class_of_all: int | None
) -> Iterator[RawSample | BadFile]:
    """Members that follow each other and share the name before the first dot are one sample."""
    seen: set[str] = set()
    left: dict[str, None] = {}
    files = (member for member in tar if member.isfile() and not _noted(member.name, left))
    for key, members in groupby(files, key=lambda member: _split(member.name)[0]):
        if key in seen:
            yield BadFile(f"{name}/{key}", "given twice", "stands in the tar twice, with others in between")
            continue
        seen.add(key)
        image, label = None, None
        for member in members:
            kind = _split(member.name)[1]
            if f".{kind}" in EXTENSIONS:
                image = _content(tar, member) if image is None else b""
            elif kind == _LABEL and member.size <= _MAX_LABEL_BYTES:
                label = _content(tar, member)
        yield _sample(f"{name}/{key}", image, label, num_classes, class_of_all)
    yield from (as_left_behind(f"{name}/{entry}") for entry in left)


def _noted(member: str, left: dict[str, None]) -> bool:
    """Return whether a member was left behind; its entry is then in `left`. Such members part no sample."""
    entry = left_behind(member)
    if entry:
        left[entry] = None
    return bool(entry)


def _split(member: str) -> tuple[str, str]:
    """Key and kind: "a/b.seg.png" is the `seg.png` of "a/b"."""
    path = PurePosixPath(member)
    stem, _, kind = path.name.partition(".")
    return (path.parent / stem).as_posix(), kind.lower()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    if member.size > MAX_FILE_BYTES:
        return b""
    file = tar.extractfile(member)
    assert file is not None, "a regular file has a content"
    return file.read()


def _sample(
    name: str, image: bytes | None, label: bytes | None, num_classes: int, class_of_all: int | None
) -> RawSample | BadFile:
    if image is None:
        return BadFile(name, "no image", f"has no image ({', '.join(EXTENSIONS)})")
    if not image:
        return BadFile(name, "of another kind", f"is empty, has more than {MAX_FILE_BYTES} bytes, or two images")
    number = class_of_all
    if label is not None:
        text = label.decode("ascii", "replace").strip()
        number = int(text) if text.isdecimal() else -1
    if number is None or not 0 <= number < num_classes:
        shown = "nothing" if label is None else repr(label)
        return BadFile(name, "of another kind", f"names no class: its .cls says {shown}, there are {num_classes}")
    return RawSample(name, number, image)
