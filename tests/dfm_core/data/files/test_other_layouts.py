"""Places in another layout than the one asked for: told what they hold, and the way on."""

from __future__ import annotations

import re

import pytest

from dfm_core.data.files.class_folders import open_class_folders
from dfm_core.data.files.image_files import EXTENSIONS
from dfm_core.data.files.image_shards import open_image_shards
from dfm_core.data.files.other_layouts import CLIP_EXTENSIONS
from tests.support.dataset_files import MemoryFiles

SHARDS = [
    ("ant/0.png", "holds images (1, such as 'ant/0.png'): layout: class_folders or list reads them"),
    ("walk/0.mp4", "holds clips (1, such as 'walk/0.mp4'): layout: class_folders or list reads them, with data.frames"),
    ("train-000.tar.gz", "holds compressed archives (1, such as 'train-000.tar.gz'): unpack them"),
    ("shard.00000.mds", "holds MosaicML's shards"),
    ("train.tfrecord-00000-of-01024", "holds TensorFlow's records"),
    ("data.mdb", "holds LMDB's files"),
    ("train.h5", "holds HDF5 files"),
    ("train.beton", "holds FFCV's files"),
    ("train-images-idx3-ubyte", "holds arrays"),
    (
        "dataset_infos.json",
        "holds a Hugging Face dataset's cards (1, such as 'dataset_infos.json'): write it as Parquet",
    ),
]


@pytest.mark.parametrize(("name", "told"), SHARDS)
def test_a_place_without_shards_says_what_it_holds(name: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"holds no shard (.tar, .parquet, .arrow); it {told}")):
        open_image_shards(MemoryFiles({name: b"x"}), ("a", "b"))


@pytest.mark.parametrize(
    ("name", "extensions", "told"),
    [
        ("data/train-00000-of-00001.parquet", EXTENSIONS, "tar, Parquet or Arrow files"),
        ("data-00000-of-00001.arrow", EXTENSIONS, "layout: image_shards reads them"),
        ("ant/0.png", CLIP_EXTENSIONS, "without data.frames"),
        ("ant/0.mp4", EXTENSIONS, "with data.frames"),
    ],
)
def test_a_place_without_classes_says_what_it_holds(name: str, extensions: tuple[str, ...], told: str) -> None:
    with pytest.raises(ValueError, match=f"in a folder of its class; it holds .*{re.escape(told)}"):
        open_class_folders(MemoryFiles({name: b"x"}), extensions)


def test_what_is_not_known_is_not_guessed() -> None:
    with pytest.raises(ValueError, match=re.escape("holds no shard (.tar, .parquet, .arrow)") + "$"):
        open_image_shards(MemoryFiles({"notes.txt": b"x"}), ("a", "b"))
