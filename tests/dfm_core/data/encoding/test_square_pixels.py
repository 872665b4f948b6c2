"""Contents of files into squares: what may be converted is, and what may not is refused with its reason."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfm_core.data.encoding.square_pixels import MAX_SOURCE_PIXELS, clip_square, image_square, with_mirror_images
from dfm_core.data.files.centre_crop import centre_crop
from dfm_core.data.files.clips import ClipSpec
from dfm_core.data.files.image_files import MAX_PIXELS, UnusableImageError, decode_image
from tests.support.dataset_files import clip, encoded

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
RGB = Image.fromarray(PHOTO)


def test_an_image_becomes_its_cropped_square() -> None:
    square = image_square(encoded(PHOTO, "PNG"), 16)
    assert square.dtype == torch.uint8
    assert np.array_equal(square.permute(1, 2, 0).numpy(), centre_crop(PHOTO, 16))


def test_grey_is_repeated_and_cmyk_converted() -> None:
    grey = image_square(encoded(RGB.convert("L"), "PNG"), 16)
    assert torch.equal(grey, grey[:1].expand(3, 16, 16))
    flat = Image.new("RGB", (32, 32), (200, 40, 90)).convert("CMYK")
    square = image_square(encoded(flat, "JPEG", quality=95), 16)
    assert (square.float().mean((1, 2)) - torch.tensor([200.0, 40.0, 90.0])).abs().max() < 4


def animated() -> bytes:
    content = io.BytesIO()
    RGB.save(content, "GIF", save_all=True, append_images=[RGB.transpose(Image.Transpose.ROTATE_180)])
    return content.getvalue()


PNG, JPEG = encoded(PHOTO, "PNG"), encoded(PHOTO, "JPEG")
TRANSPARENT = RGB.convert("RGBA")
TRANSPARENT.putalpha(128)


@pytest.mark.parametrize(
    ("content", "fault", "reason"),
    [
        (b"", "empty", "is empty"),
        (PNG[:-40], "damaged", "cut off"),
        (JPEG[:-200], "damaged", "cut off"),
        (b"<html>not found</html>", "no image", "is no image"),
        (animated(), "of another kind", "holds 2 frames"),
        (encoded(TRANSPARENT, "PNG"), "of another kind", "transparent pixels"),
        (
            encoded(Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 256), "PNG"),
            "of another kind",
            "no 8-bit channels",
        ),
    ],
)
def test_what_is_no_image_of_three_channels_is_refused(content: bytes, fault: str, reason: str) -> None:
    with pytest.raises(UnusableImageError, match=reason) as caught:
        image_square(content, 16)
    assert caught.value.fault == fault


def test_an_image_of_more_pixels_than_are_decoded_is_refused_before_it_is() -> None:
    assert MAX_SOURCE_PIXELS > 61_000_000 > MAX_PIXELS  # ImageNet's largest; what is measured may not be so large
    assert decode_image(PNG, 3, max_pixels=40 * 56).shape == PHOTO.shape
    with pytest.raises(UnusableImageError, match="claims 56 x 40, more pixels than the 2239 that are decoded"):
        decode_image(PNG, 3, max_pixels=40 * 56 - 1)


def test_a_clip_becomes_squares_of_its_frames() -> None:
    levels = [40, 90, 140, 190]
    content = clip([np.full((32, 48, 3), level, np.uint8) for level in levels])
    square = clip_square(content, ClipSpec(frames=4, side=16))
    assert square.shape == (3, 4, 16, 16)
    assert (square.float().mean((0, 2, 3)) - torch.tensor(levels)).abs().max() < 4


@pytest.mark.parametrize("shape", [(3, 4, 6), (3, 2, 4, 6)])
def test_each_sample_is_followed_by_its_mirror_image(shape: tuple[int, ...]) -> None:
    pixels = torch.randint(0, 256, (5, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    both = with_mirror_images(pixels)
    assert torch.equal(both[0::2], pixels)
    assert torch.equal(both[1::2], torch.flip(pixels, (-1,)))
    assert not torch.equal(both[1::2], pixels)


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1)])
def test_a_line_of_pixels_becomes_a_square(size: tuple[int, int]) -> None:
    content = encoded(Image.new("RGB", size, (200, 40, 90)), "PNG")
    assert len(content) < 1000
    square = image_square(content, 256)
    assert square.shape == (3, 256, 256)
    assert torch.equal(square, torch.tensor([200, 40, 90], dtype=torch.uint8)[:, None, None].expand_as(square))


def test_of_a_picture_with_previews_behind_it_the_first_is_read() -> None:
    """Write a picture with a preview behind it, as cameras and phones do (MPO)."""
    content = encoded(RGB, "MPO", save_all=True, append_images=[RGB.rotate(180)], quality=95)
    assert Image.open(io.BytesIO(content)).n_frames == 2  # type: ignore[attr-defined]
    assert torch.equal(image_square(content, 16), image_square(encoded(RGB, "JPEG", quality=95), 16))


@pytest.mark.parametrize("compressed", [False, True])
def test_a_png_with_a_long_text_is_read(compressed: bool) -> None:
    notes = PngInfo()
    notes.add_text("workflow", "x" * 2_000_000, zip=compressed)
    assert torch.equal(image_square(encoded(RGB, "PNG", pnginfo=notes), 16), image_square(PNG, 16))
