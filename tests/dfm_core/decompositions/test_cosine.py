"""Block cosine bands against scipy, as images and as coefficients (numerics 2.4)."""

from __future__ import annotations

import pytest
import torch

from dfm_core.decompositions.cosine import CosineBands, CosinePyramid, cosine_matrix, frequency_order
from tests.support.models import golden_tensors

GOLDEN = golden_tensors("dct_scipy")
IMAGE = GOLDEN["x"][None, None]
BLOCKS = (4, 8)


@pytest.mark.parametrize("block", BLOCKS)
def test_the_matrix_is_the_recorded_one(block: int) -> None:
    torch.testing.assert_close(
        torch.from_numpy(cosine_matrix(block)), GOLDEN[f"dct_matrix_{block}"], rtol=0, atol=1e-15
    )


@pytest.mark.parametrize("block", BLOCKS)
def test_the_coarse_image_is_the_recorded_small_inverse_of_the_low_corner(block: int) -> None:
    coarse, detail = CosinePyramid((8, 16), block).analyze(IMAGE)
    expected = GOLDEN[f"block{block}_lowhalf_smallidct_times_half"]
    torch.testing.assert_close(coarse[0, 0], expected, rtol=0, atol=1e-14)
    low = GOLDEN[f"block{block}_keep_lowhalf_idct"]
    torch.testing.assert_close(detail[0, 0], GOLDEN["x"] - low, rtol=0, atol=1e-14)


@pytest.mark.parametrize("block", BLOCKS)
def test_coefficients_are_the_recorded_ones_in_the_documented_order(block: int) -> None:
    bands = torch.cat(CosineBands((4, 8, 16), block).analyze(IMAGE), dim=1)[0]  # [u v, block row, block column]
    for channel, (u, v) in enumerate(frequency_order(block)):
        expected = GOLDEN[f"block{block}_dct2_ortho"][:, :, u, v]
        torch.testing.assert_close(bands[channel], expected, rtol=0, atol=1e-14)


def test_frequencies_come_by_their_larger_index() -> None:
    assert frequency_order(3) == [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (1, 2), (2, 0), (2, 1), (2, 2)]


@pytest.mark.parametrize("block", BLOCKS)
def test_both_domains_show_the_same_partial_images(block: int) -> None:
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    as_images, as_coefficients = CosinePyramid((4, 8, 16), block), CosineBands((4, 8, 16), block)
    scales, bands = as_images.analyze(images), as_coefficients.analyze(images)
    for count in (1, 2, 3):
        partial = as_coefficients.partial(bands, count)
        torch.testing.assert_close(partial, as_images.partial(scales, count), rtol=0, atol=1e-13)


@pytest.mark.parametrize("made", [CosinePyramid, CosineBands])
def test_blocks_that_do_not_fit_are_refused(made: type[CosinePyramid] | type[CosineBands]) -> None:
    with pytest.raises(ValueError, match="blocks of 8 do not divide side 12"):
        made((6, 12), 8)
    with pytest.raises(ValueError, match="side 2 of 16 keeps no whole number of frequencies of a block of 4"):
        made((2, 16), 4)
