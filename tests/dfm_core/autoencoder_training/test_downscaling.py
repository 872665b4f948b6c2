"""Making pixels and latents smaller: known values, videos frame by frame, and sizes that stay together."""

from __future__ import annotations

import pytest
import torch

from dfm_core.autoencoder_training.downscaling import downscale, downscale_both

RAMP = torch.arange(16.0).view(1, 1, 4, 4)


def test_the_mean_is_over_square_cells() -> None:
    assert downscale(RAMP, (2, 2), "mean").flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert downscale(RAMP, (1, 2), "mean").flatten().tolist() == [6.5, 8.5]


def test_bilinear_keeps_the_corners() -> None:
    assert downscale(RAMP, (2, 2), "bilinear").flatten().tolist() == [0.0, 3.0, 12.0, 15.0]


@pytest.mark.parametrize("how", ["mean", "bilinear"])
def test_a_video_is_made_smaller_frame_by_frame(how: str) -> None:
    clip = torch.rand(2, 3, 5, 8, 12, generator=torch.Generator().manual_seed(0))
    small = downscale(clip, (4, 6), how)  # type: ignore[arg-type]  # a parameter is a str
    assert small.shape == (2, 3, 5, 4, 6)
    for frame in range(5):
        assert torch.equal(small[:, :, frame], downscale(clip[:, :, frame], (4, 6), how))  # type: ignore[arg-type]


def test_uneven_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="4 x 4 is not made of 3 x 3 equal cells"):
        downscale(RAMP, (3, 3), "mean")


def test_a_factor_that_does_not_divide_keeps_pixels_and_positions_together() -> None:
    pixels, latents = torch.zeros(1, 3, 256, 256), torch.zeros(1, 16, 32, 32)
    small = downscale_both(pixels, latents, 3, "bilinear")
    assert [part.shape[-1] for part in small] == [80, 10]
    assert [part.shape[-1] for part in downscale_both(pixels, latents, 4, "mean")] == [64, 8]
