"""The crop of ADM, DiT and EDM, against what their code gave."""

from __future__ import annotations

import numpy as np
import pytest

from dfm_core.data.files.centre_crop import centre_crop
from tests.support.models import golden_tensors

IMAGES = golden_tensors("image_preprocessing")
PHOTO = IMAGES["image_hwc"].numpy()


@pytest.mark.parametrize("name", sorted(name for name in IMAGES if "crop" in name))
def test_the_crop_is_dits_pixel_by_pixel(name: str) -> None:
    wanted = IMAGES[name].numpy()
    assert np.array_equal(centre_crop(PHOTO, wanted.shape[0]), wanted)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (8, 31), (64, 9), (200, 100), (5, 7), (1, 1)])
def test_any_image_becomes_the_square(height: int, width: int) -> None:
    assert centre_crop(np.zeros((height, width, 3), np.uint8), 8).shape == (8, 8, 3)


def test_an_image_of_the_size_stays_as_it_is() -> None:
    square = PHOTO[:40, :40]
    assert np.array_equal(centre_crop(square, 40), square)


def test_twice_the_side_is_halved_by_boxes() -> None:
    even = PHOTO[:48, :48]
    means = even.reshape(24, 2, 24, 2, 3).astype(int).mean((1, 3))
    assert np.abs(centre_crop(even, 24) - means).max() <= 1  # Pillow rounds twice
