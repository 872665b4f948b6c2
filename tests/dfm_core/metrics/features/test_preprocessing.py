"""Preprocessing against the original implementations, pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dfm_core.metrics.features import preprocessing
from dfm_core.metrics.features.preprocessing import (
    centre_of_frames,
    clip_input,
    fdd_input,
    fid_input,
    fid_input_tensorflow,
    fvd_input,
    resize_bilinear,
    resize_bilinear_tensorflow,
)
from tests.support.models import golden_tensors

FID, FVD, IMAGES = (golden_tensors(name) for name in ("fid_resize", "fvd_preprocess", "image_preprocessing"))
PHOTO = IMAGES["image_hwc"].permute(2, 0, 1)[None]  # [1, 3, 52, 70] uint8
IMAGE_INPUTS = [fid_input, fid_input_tensorflow, fdd_input, clip_input]


def assert_equals(actual: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def mean_and_std(x: Tensor) -> Tensor:
    return torch.stack([x.double().mean(), x.double().std()])


def test_bilinear_of_torch() -> None:
    assert_equals(resize_bilinear(FID["x"], (19, 19)), FID["torch_bilinear_19"], 1e-6)


def test_bilinear_of_tensorflow_1() -> None:
    assert_equals(resize_bilinear_tensorflow(FID["x"], 19), FID["tf1_bilinear_19"], 1e-6)


def test_bilinear_of_tensorflow_1_keeps_axes_apart() -> None:
    ramp = torch.arange(6.0).expand(1, 1, 3, 6)
    assert_equals(resize_bilinear_tensorflow(ramp, 12)[0, 0, 5], torch.arange(12).div(2).clamp(max=5.0), 1e-6)
    assert_equals(resize_bilinear_tensorflow(ramp.mT, 12)[0, 0, :, 5], torch.arange(12).div(2).clamp(max=5.0), 1e-6)


@pytest.mark.parametrize("side", [8, 16])
def test_frames_for_fvd(side: int) -> None:
    assert_equals(2 * centre_of_frames(FVD["video_cthw"][None], side)[0] - 1, FVD[f"out_res{side}"], 1e-5)


def test_tall_frames_are_cropped_at_top_and_bottom() -> None:
    tall = FVD["video_cthw"][None].mT
    assert_equals(2 * centre_of_frames(tall, 8)[0] - 1, FVD["out_res8"].mT, 1e-5)


def test_fdd_is_dgm_evals_own_exactly() -> None:
    x = fdd_input(PHOTO)
    assert_equals(x[..., ::16, ::16], IMAGES["dinov2_dgmeval_default_every16"], 1e-6)
    assert_equals(mean_and_std(x), IMAGES["dinov2_dgmeval_default_mean_std"], 1e-6)
    assert_equals(x[..., ::16, ::16], IMAGES["dinov2_edm2_pil_every16"], 1e-6)


def test_fdd_is_near_edm2s_fast_variant_which_does_not_round() -> None:
    difference = (fdd_input(PHOTO)[..., ::16, ::16] - IMAGES["dinov2_edm2_torch_every16"]).abs().max()
    assert 0.005 < difference < 0.018


def test_clip_is_openais() -> None:
    assert_equals(clip_input(PHOTO)[..., ::16, ::16], IMAGES["clip_every16"], 1e-6)


def test_fid_inputs_are_their_resize_in_their_range() -> None:
    values = PHOTO.float()
    assert_equals(fid_input(PHOTO), resize_bilinear(values, (299, 299)) / 127.5 - 1, 1e-5)
    assert_equals(fid_input_tensorflow(PHOTO), resize_bilinear_tensorflow(values, 299) / 128 - 1, 1e-5)


@pytest.mark.parametrize(
    ("value", "expected"), [(0, (-1.0, -1.0, -0.485 / 0.229)), (255, (1.0, 127 / 128, (1 - 0.485) / 0.229))]
)
def test_black_and_white_reach_the_ends_of_the_range(value: int, expected: tuple[float, float, float]) -> None:
    flat = torch.full((1, 3, 9, 7), value, dtype=torch.uint8)
    for make, end in zip((fid_input, fid_input_tensorflow, fdd_input), expected, strict=True):
        red = make(flat)[:, 0]
        assert_equals(red, torch.full_like(red, end), 1e-5)


def test_fvd_input_has_frames_of_224_in_plus_minus_one() -> None:
    clips = torch.randint(0, 256, (2, 1, 10, 12, 20), dtype=torch.uint8)
    x = fvd_input(clips)
    assert x.shape == (2, 3, 10, 224, 224)
    assert x.dtype == torch.float32
    assert_equals(x[1, 2, 7], 2 * centre_of_frames(clips[1:, :, 7:8].float() / 255, 224)[0, 0, 0] - 1, 1e-5)


def test_fvd_refuses_short_clips() -> None:
    with pytest.raises(ValueError, match="I3D needs clips of 10 frames or more, got 9"):
        fvd_input(torch.zeros(1, 3, 9, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("make", IMAGE_INPUTS)
def test_grey_is_three_equal_channels_and_images_keep_to_themselves(make: Callable[[Tensor], Tensor]) -> None:
    grey = torch.randint(0, 256, (3, 1, 20, 31), dtype=torch.uint8)
    assert torch.equal(make(grey), make(grey.expand(-1, 3, -1, -1)))
    assert torch.equal(make(grey)[1:2], make(grey[1:2]))


@pytest.mark.parametrize("make", IMAGE_INPUTS)
@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (torch.zeros(1, 3, 8, 8), r"take 8-bit values \(uint8\), got torch\.float32"),
        (torch.zeros(1, 4, 8, 8, dtype=torch.uint8), r"1 or 3 channels, got shape \[1, 4, 8, 8\]"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), r"images \[B, C, H, W\].*, got shape \[3, 8, 8\]"),
        (torch.zeros(0, 3, 8, 8, dtype=torch.uint8), r"got shape \[0, 3, 8, 8\]"),
    ],
)
def test_other_than_8_bit_images_is_refused(make: Callable[[Tensor], Tensor], pixels: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(pixels)


def test_clips_and_images_are_not_mixed_up() -> None:
    with pytest.raises(ValueError, match=r"take clips \[B, C, T, H, W\]"):
        preprocessing.as_rgb_clips(PHOTO)
    with pytest.raises(ValueError, match=r"take images \[B, C, H, W\]"):
        preprocessing.as_rgb_images(PHOTO[:, :, None])
