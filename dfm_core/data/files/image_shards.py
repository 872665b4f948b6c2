"""A dataset of images in shards: tar, Parquet or Arrow files in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from dfm_core.data.files.class_list import spelling_of
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.left_behind import without_left_behind
from dfm_core.data.files.other_layouts import SHARD_EXTENSIONS, other_layout
from dfm_core.data.files.raw_samples import DataFile, DataFiles, RawSample, fingerprint_of, mixed
from dfm_core.data.files.table_samples import TABLE_EXTENSIONS, table_samples
from dfm_core.data.files.tar_samples import tar_samples

_SPLITS = "dataset_dict.json"
"""File that Hugging Face's `DatasetDict.save_to_disk` puts beside the folders of the splits."""


@dataclass(frozen=True)
class ImageShards:
    """A dataset of many samples a file: `RawDataset`. How many is known when a file was read."""

    files: DataFiles
    units: tuple[DataFile, ...]
    class_names: tuple[str, ...]
    fingerprint: str
    left_out: tuple[BadFile, ...]

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        try:
            with self.files.opened(unit) as file:
                if unit.name.lower().endswith(TABLE_EXTENSIONS):
                    yield from table_samples(file, unit.name, len(self.class_names))
                else:
                    yield from tar_samples(file, unit.name, len(self.class_names), self._class_of(unit))
        except FileNotFoundError:
            yield BadFile(unit.name, "unreadable", "has gone since the dataset was listed", holds_many=True)

    def _class_of(self, unit: DataFile) -> int | None:
        """Return the class of a tar that is named as one, as ImageNet's `n01440764.tar`."""
        stem = unit.name.rsplit("/", 1)[-1].removesuffix(".tar")
        return self._numbers.get(self._spelled(stem))

    @cached_property
    def _spelled(self) -> Callable[[str], str]:
        return spelling_of(self.class_names)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.class_names)}


def open_image_shards(files: DataFiles, class_names: Sequence[str]) -> ImageShards:
    """Open every tar, Parquet and Arrow file in a place.

    Args: class_names: in the order of the labels in the shards.
    Raises: ValueError if there is no shard, or no class list; what `files` does.
    """
    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"{files.place}: shards hold numbers of classes: give a class list without doubles")
    listing, left = without_left_behind(files.listing())
    shards = [file for file in listing.files if file.name.lower().endswith(SHARD_EXTENSIONS)]
    if not shards:
        hint = other_layout((file.name for file in listing.files), SHARD_EXTENSIONS)
        raise ValueError(f"{files.place}: holds no shard ({', '.join(SHARD_EXTENSIONS)}){hint}")
    if any(file.name == _SPLITS for file in listing.files):
        splits = sorted({file.name.partition("/")[0] for file in shards})
        raise ValueError(
            f"{files.place}: holds the splits {', '.join(splits)} together: give the folder of one of them"
        )
    bad = [BadFile(file.name, "empty", "is empty (0 bytes)", holds_many=True) for file in shards if not file.num_bytes]
    sound = [file for file in shards if file.num_bytes]
    bad += [replace(one, holds_many=True) for one in listing.unusable_of(SHARD_EXTENSIONS)]
    units = tuple(sound[at] for at in mixed([file.name for file in sound]))
    fingerprint = fingerprint_of(sound, [-1] * len(sound), class_names)
    return ImageShards(files, units, tuple(class_names), fingerprint, (*bad, *left))
