"""Samples to encode, before they are decoded: as files hold them, in any place.

A dataset is a list of units in an order of its own, each a file with one sample or many. Its fingerprint covers their
names, sizes and labels, and the classes: what a listing tells, so that it is known before anything is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import BinaryIO, Protocol

from dfm_core.data.files.folder_report import BadFile


@dataclass(frozen=True)
class DataFile:
    """A file of a dataset."""

    name: str
    """Relative to the dataset's place, with forward slashes."""
    num_bytes: int


@dataclass(frozen=True)
class Listing:
    """Files and folders of a place."""

    files: tuple[DataFile, ...]
    folders: tuple[str, ...]
    """Folders, with the empty ones where the place lists them."""
    unusable: tuple[BadFile, ...] = ()
    """Entries that are neither, or cannot be read."""

    @property
    def names(self) -> list[str]:
        """Names of the files."""
        return [file.name for file in self.files]

    def unusable_of(self, extensions: Sequence[str]) -> list[BadFile]:
        """Return those that may stand for samples: folders, and files with one of the extensions or none."""
        kinds = ("", *extensions)
        return [
            one for one in self.unusable if one.file.endswith("/") or PurePosixPath(one.file).suffix.lower() in kinds
        ]


class DataFiles(Protocol):
    """The place of a dataset: a folder, or any URL."""

    @property
    def place(self) -> str:
        """Name of the place, for messages."""

    def listing(self) -> Listing: ...

    def opened(self, file: DataFile) -> AbstractContextManager[BinaryIO]:
        """Return a file's content, seekable. Raises: FileNotFoundError."""


@dataclass(frozen=True)
class RawSample:
    """One image or clip as its file holds it."""

    name: str
    """Name of the file, and inside it."""
    label: int
    """Number of its class, or of its caption (`data.captions.caption.caption_number`)."""
    content: bytes
    caption: str | None = None
    """None: its label is a class."""


class RawDataset(Protocol):
    """Samples to be encoded."""

    @property
    def class_names(self) -> tuple[str, ...]: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def units(self) -> tuple[DataFile, ...]:
        """Units in the order in which they are encoded."""

    @property
    def left_out(self) -> tuple[BadFile, ...]:
        """Entries that the listing alone shows to be no samples."""

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        """Yield the samples of a unit in their order, and what in it is none.

        Raises: OSError as `DataFiles.opened`, other than for a file that is not there.
        """


def fingerprint_of(files: Sequence[DataFile], labels: Sequence[int], class_names: Sequence[str]) -> str:
    """Whatever the order in which a place lists its files."""
    lines = sorted(f"{file.name}\t{file.num_bytes}\t{label}" for file, label in zip(files, labels, strict=True))
    text = "\n".join([*(f"{name!r}" for name in class_names), "", *lines])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def mixed(names: Sequence[str]) -> list[int]:
    """Return an order that mixes the classes, so that each shard of latents holds many: by a hash of the name.

    Returns: positions in `names`.
    """
    return sorted(
        range(len(names)), key=lambda at: hashlib.sha256(names[at].encode("utf-8", "surrogateescape")).digest()
    )
