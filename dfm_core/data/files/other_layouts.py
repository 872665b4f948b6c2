"""Layouts that people bring and that are not the one asked for: their names, and the way on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import PurePosixPath

from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import EXTENSIONS

CLIP_EXTENSIONS = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v")
_UNREAD = {
    EXTENSIONS: (
        *(".heic", ".heif", ".avif", ".jxl"),  # what phones and browsers save
        *(".jfif", ".jpe", ".jp2", ".j2k", ".jpx"),
        *(".apng", ".pnm", ".pbm", ".tga"),
        *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2"),  # of cameras
    ),
    CLIP_EXTENSIONS: (".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv", ".m2ts", ".mts", ".vob", ".divx", ".rmvb"),
}
"""Kinds of samples that are read -> kinds of the same that are not."""
SHARD_EXTENSIONS = (".tar", ".parquet", ".arrow")
_TO_PARQUET = "write it as Parquet, with Hugging Face's `load_dataset(...)[split].to_parquet(file)`"
_AS_SHARDS = "write it as tar (WebDataset) or Parquet files"
_LAYOUTS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (SHARD_EXTENSIONS, "tar, Parquet or Arrow files", "layout: image_shards reads them"),
    (EXTENSIONS, "images", "layout: class_folders or list reads them, without data.frames"),
    (CLIP_EXTENSIONS, "clips", "layout: class_folders or list reads them, with data.frames"),
    ((".gz", ".tgz", ".xz", ".zst", ".bz2", ".zip", ".7z", ".rar"), "compressed archives", "unpack them"),
    ((".mds",), "MosaicML's shards", _AS_SHARDS),
    ((".tfrecord", ".tfrecords"), "TensorFlow's records", _AS_SHARDS),
    ((".lmdb", ".mdb"), "LMDB's files", _AS_SHARDS),
    ((".h5", ".hdf5"), "HDF5 files", _AS_SHARDS),
    ((".beton",), "FFCV's files", _AS_SHARDS),
    ((".rec",), "MXNet's records", _AS_SHARDS),
    (("-ubyte", ".npz", ".npy", ".pt", ".pth", ".pkl", ".pickle"), "arrays", _AS_SHARDS),
    (("dataset_infos.json", "dataset_info.json", "dataset_dict.json"), "a Hugging Face dataset's cards", _TO_PARQUET),
)
"""Ends of names, what they are, and what to do; the first that fits is told."""
_NUMBER = re.compile(r"-\d+-of-\d+$")


def other_layout(names: Iterable[str], wanted: tuple[str, ...]) -> str:
    """Return what a place without the wanted files seems to hold, to follow the reason; "" if nothing is known."""
    whole = [(_NUMBER.sub("", name).lower(), name) for name in names]
    for ends, kind, remedy in _LAYOUTS:
        such = [name for lowered, name in whole if lowered.endswith(ends)]
        if such and ends != wanted:
            return f"; it holds {kind} ({len(such):,}, such as {such[0]!r}): {remedy}"
    return ""


def unread_samples(files: Collection[str], extensions: Sequence[str]) -> list[BadFile]:
    """Return pictures, or clips, of kinds that are not read: to leave them out silently would be another dataset. What
    has the name of one that is read, as a camera's raw file beside its JPEG, is none.

    Args: files: all names. extensions: of those that are read.
    """
    unread = _UNREAD.get(tuple(extensions), ())
    such = [name for name in files if name.lower().endswith(unread)] if unread else []
    read = {_stem(name) for name in files if name.lower().endswith(tuple(extensions))} if such else set()
    return [
        BadFile(name, "of another kind", f"is a file {PurePosixPath(name).suffix}, which is not read: convert it")
        for name in such
        if _stem(name) not in read
    ]


def _stem(name: str) -> str:
    return name.rpartition(".")[0].lower()
