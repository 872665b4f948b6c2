"""Images in tar files: WebDataset's shards (`key.jpg` beside `key.cls` or `key.txt`), and ImageNet's own, one a class.

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
from dfm_core.data.files.sample_labels import SampleLabels, UnusableLabelError

_REST_BYTES = 2**20
_LINKED = "is a link, which is not followed: pack files with `tar --dereference --hard-dereference`"


def tar_samples(file: BinaryIO, name: str, labels: SampleLabels) -> Iterator[RawSample | BadFile]:
    """Yield the images of a tar in their order.

    Args: file: an uncompressed tar, seekable. name: for messages.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            yield from _grouped(tar, name, labels)
            file.seek(tar.offset)
    except tarfile.TarError as error:
        yield BadFile(name, "damaged", f"is no uncompressed tar, or cut off ({error})", holds_many=True)
        return
    if problem := _end_problem(file):
        yield BadFile(name, "damaged", problem, holds_many=True)


def _end_problem(file: BinaryIO) -> str:
    """Return what is wrong with the end of an archive, "" if it is whole. Args: file: at what should be the end.

    Python takes the end of the file for the end of the archive, which two blocks of zeros mark, and the first such mark
    for the last.
    """
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        return "is cut off: its end is not marked"
    while rest := file.read(_REST_BYTES):
        if any(rest):
            return (
                "holds more behind its end, as archives do that were joined by `cat`: join them with "
                "`tar --concatenate`, or give each for itself"
            )
    return ""


def _grouped(tar: tarfile.TarFile, name: str, labels: SampleLabels) -> Iterator[RawSample | BadFile]:
    """Members that follow each other and share the name before the first dot are one sample."""
    seen: set[str] = set()
    left: dict[str, None] = {}
    files = (member for member in tar if _is_file(member) and not _noted(member.name, left))
    for key, members in groupby(files, key=lambda member: _split(member.name)[0]):
        if key in seen:
            yield BadFile(f"{name}/{key}", "given twice", "stands in the tar twice, with others in between")
            continue
        seen.add(key)
        image: bytes | None = None
        beside: dict[str, bytes] = {}
        links: list[str] = []
        for member in members:
            kind = _split(member.name)[1]
            if not member.isfile():
                links.append(member.name)
            elif f".{kind}" in EXTENSIONS:
                image = _content(tar, member) if image is None else b""
            elif member.size <= labels.member_kinds.get(kind, -1):
                beside[kind] = _content(tar, member)
        if links:
            yield BadFile(f"{name}/{key}", "of another kind", _LINKED)
            continue
        yield _sample(f"{name}/{key}", image, beside, labels)
    yield from (as_left_behind(f"{name}/{entry}") for entry in left)


def _is_file(member: tarfile.TarInfo) -> bool:
    """Return whether a member is a file, or a link in the place of one, which tar writes for a second name of it."""
    return member.isfile() or ((member.islnk() or member.issym()) and "." in PurePosixPath(member.name).name)


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


def _sample(name: str, image: bytes | None, beside: dict[str, bytes], labels: SampleLabels) -> RawSample | BadFile:
    if image is None:
        return BadFile(name, "no image", f"has no image ({', '.join(EXTENSIONS)})")
    if not image:
        return BadFile(name, "of another kind", f"is empty, has more than {MAX_FILE_BYTES} bytes, or two images")
    try:
        number, caption = labels.of_members(beside)
    except UnusableLabelError as error:
        return BadFile(name, labels.fault, str(error))
    return RawSample(name, number, image, caption)
