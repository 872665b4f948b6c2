"""The Laplacian pyramid against the released code, torch's resize and its own algebra (numerics 2.1)."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.decompositions.identity import Identity
from dfm_core.decompositions.laplacian import HeldLaplacianPyramid, LaplacianPyramid, downsample, upsample
from tests.support.models import golden_json, golden_tensors

RESIZE = golden_tensors("interpolate_torch")


@pytest.mark.parametrize("resolutions", [(8, 16), (4, 8, 16)])
def test_scales_equal_those_of_the_released_code(resolutions: tuple[int, ...]) -> None:
    golden, num_scales = golden_tensors("dfm_official_laplacian"), len(resolutions)
    scales = LaplacianPyramid(resolutions).analyze(golden["x"])
    for level, scale in enumerate(scales):
        torch.testing.assert_close(scale, golden[f"S{num_scales}_antialias0_level{level}"], rtol=0, atol=1e-6)
    recomposed = LaplacianPyramid(resolutions).synthesize(scales)
    torch.testing.assert_close(recomposed, golden[f"S{num_scales}_antialias0_recomposed"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["area_aa0_down2", "area_aa0_down4", "bilinear_aa0_down2"])
def test_downsampling_is_the_area_mean(name: str) -> None:
    side = RESIZE[name].shape[-1]
    torch.testing.assert_close(downsample(RESIZE["x"], side), RESIZE[name], rtol=0, atol=1e-14)


def test_upsampling_is_bilinear_without_aligned_corners() -> None:
    torch.testing.assert_close(upsample(RESIZE["x"], 32), RESIZE["bilinear_aa0_up2"], rtol=0, atol=1e-14)
    crop = RESIZE["x"][..., :8, :8]
    torch.testing.assert_close(upsample(crop, 32), RESIZE["bilinear_aa0_up4_of_8x8crop"], rtol=0, atol=1e-14)


def test_ratio_four_takes_one_step() -> None:
    coarse, detail = LaplacianPyramid((4, 16)).analyze(RESIZE["x"])
    torch.testing.assert_close(coarse, RESIZE["eq2_4to16_area_aa0_X1"], rtol=0, atol=1e-14)
    torch.testing.assert_close(detail, RESIZE["eq2_4to16_area_aa0_X2"], rtol=0, atol=1e-14)


def test_doubling_resizes_by_two_again_and_again() -> None:
    coarse, detail = LaplacianPyramid((4, 16), "doubling").analyze(RESIZE["x"])
    torch.testing.assert_close(detail, RESIZE["x"] - upsample(upsample(coarse, 8), 16), rtol=0, atol=1e-14)
    assert (detail - RESIZE["eq2_4to16_area_aa0_X2"]).abs().max() > 1e-3  # ratio 4 at once is another operator


def test_white_noise_has_the_known_variances() -> None:
    # Row i of the linear map, squared and summed, is the variance of output i for white noise in.
    golden = golden_json("laplacian_statistics")
    impulses = torch.eye(256, dtype=torch.float64).reshape(256, 1, 16, 16)
    coarse, detail = (scale.square().sum(dim=0)[0] for scale in LaplacianPyramid((8, 16)).analyze(impulses))
    assert torch.allclose(coarse, torch.tensor(golden["white_noise_variance_level1"], dtype=torch.float64))
    assert float(detail[8, 7]) == pytest.approx(golden["white_noise_variance_level2_interior"], abs=1e-14)
    assert float(detail[0, 0]) == pytest.approx(golden["white_noise_variance_level2_border_corner"], abs=1e-14)


def test_an_impulse_has_the_known_response() -> None:
    golden = golden_json("laplacian_statistics")["impulse_row_at_16_16_nonzero"]
    impulses = torch.eye(1024, dtype=torch.float64).reshape(1024, 1, 32, 32)
    detail = LaplacianPyramid((16, 32)).analyze(impulses)[1]
    row = detail[:, 0, 16, 16].reshape(32, 32)  # how output (16, 16) weighs each input
    expected = torch.zeros(32, 32, dtype=torch.float64)
    for position, value in golden.items():
        expected[tuple(int(i) for i in position.split(","))] = value
    torch.testing.assert_close(row, expected, rtol=0, atol=1e-14)


def test_a_constant_image_has_no_detail() -> None:
    coarse, middle, fine = LaplacianPyramid((4, 8, 16)).analyze(torch.full((1, 1, 16, 16), 0.75))
    assert torch.equal(coarse, torch.full((1, 1, 4, 4), 0.75))
    assert not middle.any()
    assert not fine.any()


@pytest.mark.parametrize("resolutions", [(16, 8), (8, 8), (6, 16)])
def test_resolutions_that_are_not_multiples_are_refused(resolutions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="each resolution must be a multiple of the one before"):
        LaplacianPyramid(resolutions)


def test_the_identity_refuses_a_second_scale() -> None:
    with pytest.raises(ValueError, match="the identity has one scale"):
        Identity((4, 8))


def test_held_scales_are_the_coarse_image_upsampled_and_what_it_does_not_explain() -> None:
    image = torch.randn(2, 3, 12, 20, dtype=torch.float64)
    held, detail = HeldLaplacianPyramid((8, 16)).analyze(image)
    coarse = avg_pool2d(image, 2)
    assert torch.equal(held, interpolate(coarse, scale_factor=2, mode="bilinear"))
    explained = interpolate(avg_pool2d(held, 2), scale_factor=2, mode="bilinear")
    torch.testing.assert_close(detail, image - explained, rtol=0, atol=1e-14)
    seen = HeldLaplacianPyramid((8, 16)).partial([held, detail], 1)
    assert torch.equal(seen, avg_pool2d(held, 2))
    assert (seen - coarse).abs().max() > 1e-2  # down(up(.)) is no identity, so the small image is not D_1


def test_the_released_recomposition_of_held_scales_would_lose_a_tenth_of_an_image() -> None:
    """Numerics 2.8: up(down(U)) + (x - U), with U = up(down(x)), is not x."""
    image = torch.randn(4, 3, 64, 64, dtype=torch.float64)
    held, _ = HeldLaplacianPyramid((32, 64)).analyze(image)
    again = interpolate(avg_pool2d(held, 2), scale_factor=2, mode="bilinear")
    lost = (again + image - held - image).norm() / image.norm()
    assert 0.08 < float(lost) < 0.15
