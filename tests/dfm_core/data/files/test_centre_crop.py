"""The crop of ADM, DiT and EDM, against what their code gave."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from dfm_core.data.files import centre_crop as crop
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


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 1), (2, 999), (3, 40), (64, 9), (40, 56), (70, 501), (13, 13)])
@pytest.mark.parametrize("side", [8, 11, 32])
def test_a_centre_that_is_cut_first_is_that_of_the_whole(
    shape: tuple[int, int], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing overshoots: Pillow clips between its two passes, whose order follows from the size.
    image = np.random.default_rng(0).integers(64, 192, (*shape, 3), dtype=np.uint8)
    whole = centre_crop(image, side)
    monkeypatch.setattr(crop, "_MOST_PIXELS", 0)
    assert np.abs(centre_crop(image, side).astype(int) - whole).max() <= 2


EXTREME = """
import resource, sys
import numpy as np
from dfm_core.data.files.centre_crop import centre_crop
ramp = np.arange(int(sys.argv[1]), dtype=np.int64) // (int(sys.argv[1]) // 201)
image = np.broadcast_to(ramp.astype(np.uint8)[:, None, None], (int(sys.argv[1]), int(sys.argv[2]), 3))
image = image if len(sys.argv) < 4 else image.transpose(1, 0, 2)
image = np.ascontiguousarray(image)
resource.setrlimit(resource.RLIMIT_AS, (2**30 + 12 * image.nbytes,) * 2)
square = centre_crop(image, 256)
print(square.shape, square.min(), square.max())
"""


@pytest.mark.parametrize("size", [("60000", "1"), ("60000", "1", "wide"), ("6000000", "2")])
def test_an_image_of_any_shape_takes_little_memory(size: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", EXTREME, *size], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "(256, 256, 3) 100 100\n"), done.stderr
