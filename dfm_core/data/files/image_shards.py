"""A dataset of images in shards: tar, Parquet or Arrow files in one place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from dfm_core.data.files.class_list import spelling_of
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.left_behind import without_left_behind
from dfm_core.data.files.other_layouts import SHARD_EXTENSIONS, other_layout
from dfm_core.data.files.raw_samples import DataFile, DataFiles, RawSample, fingerprint_of, mixed
from dfm_core.data.files.sample_labels import ClassLabels, SampleLabels
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
    labels_of: Callable[[DataFile], SampleLabels]
    """Reader of a unit's labels."""

    def samples(self, unit: DataFile) -> Iterator[RawSample | BadFile]:
        read = table_samples if unit.name.lower().endswith(TABLE_EXTENSIONS) else tar_samples
        try:
            with self.files.opened(unit) as file:
                yield from read(file, unit.name, self.labels_of(unit))
        except FileNotFoundError:
            yield BadFile(unit.name, "unreadable", "has gone since the dataset was listed", holds_many=True)


def open_image_shards(files: DataFiles, class_names: Sequence[str]) -> ImageShards:
    """Open every tar, Parquet and Arrow file in a place.

    Args: class_names: in the order of the labels in the shards.
    Raises: ValueError if there is no shard, or no class list; what `files` does.
    """
    if not class_names or len(set(class_names)) != len(class_names):
        raise ValueError(f"{files.place}: shards hold numbers of classes: give a class list without doubles")
    numbers = {name: number for number, name in enumerate(class_names)}
    spelled = spelling_of(tuple(class_names))

    def labels_of(unit: DataFile) -> ClassLabels:
        """A tar may be named as the class of all its images, as ImageNet's `n01440764.tar`."""
        stem = unit.name.rsplit("/", 1)[-1].removesuffix(".tar")
        return ClassLabels(len(class_names), numbers.get(spelled(stem)))

    return open_shards(files, tuple(class_names), labels_of)


def open_shards(
    files: DataFiles,
    class_names: tuple[str, ...],
    labels_of: Callable[[DataFile], SampleLabels],
    read_as: Sequence[str] | None = None,
) -> ImageShards:
    """Open every shard in a place.

    Args: read_as: what the fingerprint covers beside the files; default: the classes.
    Raises: ValueError if there is no shard; what `files` does.
    """
    listing, left = without_left_behind(files.listing())
    shards = [file for file in listing.files if file.name.lower().endswith(SHARD_EXTENSIONS)]
    if not shards:
        hint = other_layout(listing.names, SHARD_EXTENSIONS)
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
    fingerprint = fingerprint_of(sound, [-1] * len(sound), class_names if read_as is None else read_as)
    return ImageShards(files, units, class_names, fingerprint, (*bad, *left), labels_of)
