"""Wavelet pyramids against PyWavelets (numerics 2.3)."""

from __future__ import annotations

from typing import get_args

import pytest
import pywt
import torch

from dfm_core.config.choices import WaveletFamily
from dfm_core.decompositions.laplacian import downsample
from dfm_core.decompositions.wavelet import WaveletPyramid
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("dwt_pywavelets")
IMAGE = GOLDEN["x"][None, None]


@pytest.mark.parametrize("family", ["haar", "db2"])
@pytest.mark.parametrize(("level", "side"), [(1, 8), (2, 4)])
def test_the_coarse_image_is_the_recorded_low_pass_band(family: WaveletFamily, level: int, side: int) -> None:
    coarse, _ = WaveletPyramid((side, 16), family).analyze(IMAGE)
    band = GOLDEN[f"{family}_periodization_L{level}_cA"]
    torch.testing.assert_close(coarse[0, 0], band / 2**level, rtol=0, atol=1e-14)


@pytest.mark.parametrize("family", ["haar", "db2"])
def test_without_its_details_an_image_is_the_recorded_low_pass_reconstruction(family: WaveletFamily) -> None:
    pyramid = WaveletPyramid((4, 8, 16), family)
    coarse, *details = pyramid.analyze(IMAGE)
    blurred = pyramid.synthesize([coarse, *(torch.zeros_like(detail) for detail in details)])
    expected = GOLDEN[f"{family}_periodization_lowpass_L2_reconstruction"]
    torch.testing.assert_close(blurred[0, 0], expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("family", ["haar", "db2"])
def test_the_detail_holds_the_three_recorded_bands_and_no_low_pass(family: WaveletFamily) -> None:
    detail = WaveletPyramid((8, 16), family).analyze(IMAGE)[1][0, 0]
    low, bands = pywt.dwt2(detail.numpy(), family, mode="periodization")
    torch.testing.assert_close(torch.from_numpy(low), torch.zeros(8, 8, dtype=torch.float64), rtol=0, atol=1e-14)
    for band, name in zip(bands, ("cH", "cV", "cD"), strict=True):
        expected = GOLDEN[f"{family}_periodization_L1_{name}"]
        torch.testing.assert_close(torch.from_numpy(band), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("family", get_args(WaveletFamily))
def test_every_family_equals_the_library_even_with_filters_longer_than_the_side(family: WaveletFamily) -> None:
    scales = WaveletPyramid((2, 16), family).analyze(IMAGE)
    low = IMAGE.numpy()
    for _ in range(3):
        low, _ = pywt.dwt2(low, family, mode="periodization")
    torch.testing.assert_close(scales[0], torch.from_numpy(low) / 8, rtol=0, atol=1e-14)


def test_haar_is_the_mean_over_cells_and_its_repetition() -> None:
    coarse, detail = WaveletPyramid((4, 16), "haar").analyze(IMAGE)
    torch.testing.assert_close(coarse, downsample(IMAGE, 4), rtol=0, atol=1e-14)
    repeated = coarse.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    torch.testing.assert_close(detail, IMAGE - repeated, rtol=0, atol=1e-14)


@pytest.mark.parametrize("resolutions", [(5, 15), (4, 24), (4, 8, 24)])
def test_a_ratio_that_is_no_power_of_two_is_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"wavelet halves the side, but .*: give a power of 2"):
        WaveletPyramid(resolutions)
