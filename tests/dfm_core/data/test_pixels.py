"""Samples that cannot become pixels are named."""

from __future__ import annotations

import pytest
import torch

from dfm_core.data.pixels import check_pixels


@pytest.mark.parametrize("shape", [(3, 1, 4, 4), (3, 2, 2, 4, 4)])
def test_samples_that_overshoot_are_fine(shape: tuple[int, ...]) -> None:
    check_pixels(torch.full(shape, -1e4))
    check_pixels(torch.zeros(0, *shape[1:]))


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_one_bad_value_names_its_sample(value: float) -> None:
    clips = torch.zeros(3, 1, 2, 4, 4)
    clips[2, 0, 1, 3, 3] = value
    with pytest.raises(ValueError, match=r"^1 of 3 samples hold 1 NaN or infinite values: samples 2$"):
        check_pixels(clips)


@pytest.mark.parametrize(
    "images", [torch.zeros(3, 4, 4), torch.zeros(4), torch.zeros(1, 1, 4, 4, dtype=torch.uint8)], ids=lambda x: x.ndim
)
def test_what_is_no_batch_of_samples_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"samples are floats \[B, C, H, W\] or .*, got torch"):
        check_pixels(images)
