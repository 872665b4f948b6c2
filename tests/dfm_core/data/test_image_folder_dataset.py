"""A folder of class folders in one call: the crop that sweeps train on, names of classes, every bad file told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import dfm_core
from dfm_core.catalog.datasets import FASHION_CLASSES, DataShape
from dfm_core.data.encoding.square_pixels import image_square

SIZES = {"tench/wide.png": (40, 23), "tench/high.png": (17, 61), "cock/small.jpg": (9, 12), "hen/square.png": (16, 16)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / name)
    return folder


def test_images_are_those_that_a_sweep_trains_on(folder: Path) -> None:
    dataset = dfm_core.load_image_folder(str(folder), 16)
    expected = [image_square((folder / name).read_bytes(), 16) for name in sorted(SIZES)]
    assert torch.equal(dataset.pixels, torch.stack(expected))
    assert dataset.labels.tolist() == [0, 1, 2, 2]
    assert dataset.class_names == ("cock", "hen", "tench")
    assert dataset.shape == DataShape(channels=3, num_classes=3)


def test_grey_images_may_have_one_channel(folder: Path, tmp_path: Path) -> None:
    grey = np.random.default_rng(1).integers(0, 256, (30, 21), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    dataset = dfm_core.load_image_folder(tmp_path, 8, channels=1)
    expected = image_square((tmp_path / "grey.png").read_bytes(), 8)
    assert torch.equal(dataset.pixels.expand(1, 3, 8, 8)[0], expected)
    assert (dataset.class_names, dataset.shape) == ((), DataShape(1, 1))
    with pytest.raises(ValueError, match="has colours where grey was asked for"):
        dfm_core.load_image_folder(folder, 8, channels=1)


def test_a_damaged_file_is_named_and_left_out_only_if_that_is_allowed(folder: Path, tmp_path: Path) -> None:
    for name in SIZES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "hen" / "cut.png").write_bytes((folder / "hen" / "square.png").read_bytes()[:90])
    with pytest.raises(ValueError, match=r"hen/cut\.png: is damaged or cut off"):
        dfm_core.load_image_folder(tmp_path, 16)
    assert len(dfm_core.load_image_folder(tmp_path, 16, max_bad_share=0.3)) == len(SIZES)


@pytest.mark.parametrize(("side", "message"), [(0, "side 0: give the side"), (16, "there is no such folder")])
def test_what_cannot_be_loaded_is_told(side: int, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        dfm_core.load_image_folder(tmp_path / "nowhere", side)


def test_embedded_datasets_have_their_names_too() -> None:
    dataset = dfm_core.load_dataset("fashion_mnist", "reference")
    assert (dataset.class_names, dataset.shape) == (FASHION_CLASSES, DataShape(1, 10))
    assert dfm_core.load_dataset("moving_fashion", "reference").shape == DataShape(1, 10, 10)
