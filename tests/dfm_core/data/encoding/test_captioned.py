"""Captioned images into latents of several shapes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dfm_core.autoencoders.pixels import Pixels
from dfm_core.data.captions.buckets import Bucket
from dfm_core.data.captions.caption import caption_number
from dfm_core.data.captions.captioned_folder import open_captioned_folder
from dfm_core.data.encoding.captioned import CaptionedUnits, Shape, encode_captioned
from dfm_core.data.files.centre_crop import cover_crop
from tests.support.dataset_files import MemoryFiles, encoded

SIZES = {"square": (70, 70), "large": (140, 130), "wide": (60, 110), "tall": (200, 90), "tiny": (40, 40)}
CPU = torch.device("cpu")


def image(name: str) -> np.ndarray:
    seed = sorted(SIZES).index(name)
    return np.random.default_rng(seed).integers(0, 256, (*SIZES[name], 3), dtype=np.uint8)


def made(batch_samples: int = 3, num_threads: int = 1, caption: str = "a {}") -> CaptionedUnits:
    files = {f"{name}.png": encoded(image(name), "PNG") for name in SIZES}
    files |= {f"{name}.txt": caption.format(name).encode() for name in SIZES}
    dataset = open_captioned_folder(MemoryFiles(files | {"broken.png": b"x", "broken.txt": b"broken"}))
    return encode_captioned(
        dataset,
        dataset.units,
        Pixels(),
        (64, 128),
        8,
        batch_samples=batch_samples,
        device=CPU,
        num_threads=num_threads,
    )


def shapes_by_caption(units: CaptionedUnits) -> dict[str, list[str]]:
    names = {caption_number(f"a {name}"): name for name in SIZES}
    found: dict[str, list[str]] = {name: [] for name in SIZES}
    for shape, own in units.shapes.items():
        for number in own.labels.tolist():
            found[names[number]].append(str(shape))
    return found


def test_image_is_kept_at_every_side_that_it_reaches() -> None:
    assert shapes_by_caption(made()) == {
        "square": ["64-64x64"],
        "large": ["64-64x64", "128-136x120"],
        "wide": ["64-48x80"],
        "tall": ["64-80x48", "128-176x88"],
        "tiny": [],
    }


def test_images_too_small_or_broken_are_left_out_by_name() -> None:
    units = made()
    assert {one.file: one.reason.split(",")[0] for one in units.left_out} == {
        "tiny.png": "is 40 x 40 pixels (width x height)",
        "broken.png": "is no image of a known format (PNG",
    }
    assert units.num_encoded == 4
    assert sorted(units.captions) == ["a large", "a square", "a tall", "a wide"]


def test_latents_are_those_of_the_cover_crop() -> None:
    own = made().shapes[Shape(128, Bucket(176, 88))]
    crop = torch.from_numpy(cover_crop(image("tall"), 176, 88).copy()).permute(2, 0, 1)
    assert own.labels.tolist() == [caption_number("a tall")]
    assert torch.equal(own.tensors["mean"][0], (crop.float() / 127.5 - 1.0).to(torch.float16))


@pytest.mark.parametrize(("batch_samples", "num_threads"), [(1, 1), (2, 3), (64, 2)])
def test_batches_and_threads_change_nothing(batch_samples: int, num_threads: int) -> None:
    first, other = made(), made(batch_samples, num_threads)
    assert first.captions == other.captions
    assert first.shapes.keys() == other.shapes.keys()
    for shape, own in first.shapes.items():
        assert torch.equal(own.labels, other.shapes[shape].labels)
        assert torch.equal(own.tensors["mean"], other.shapes[shape].tensors["mean"])


def test_equal_captions_are_one() -> None:
    units = made(caption="an image")
    assert units.captions == ("an image",)
    assert units.num_encoded == 4
