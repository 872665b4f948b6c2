"""The image at every resolution (numerics 2.7)."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool2d

from dfm_core.decompositions.levels import Levels


@pytest.mark.parametrize("resolutions", [(8, 16), (4, 16), (2, 4, 8, 16), (4, 12)])
def test_every_level_is_the_mean_over_its_cells(resolutions: tuple[int, ...]) -> None:
    side = resolutions[-1]
    images = torch.randn(2, 3, side, side, dtype=torch.float64)
    levels = Levels(resolutions).analyze(images)
    for level, own in zip(levels, resolutions, strict=True):
        torch.testing.assert_close(level, avg_pool2d(images, side // own), rtol=0, atol=1e-14)


def test_the_last_level_is_the_image_whatever_the_others_are() -> None:
    images, levels = torch.randn(2, 3, 8, 8), Levels((2, 4, 8))
    _, middle, finest = levels.analyze(images)
    assert torch.equal(finest, images)
    assert torch.equal(levels.synthesize([torch.full((2, 3, 2, 2), torch.nan), middle, finest]), images)


def test_the_partial_image_is_the_level_itself() -> None:
    levels = Levels((2, 4, 8))
    scales = levels.analyze(torch.randn(2, 3, 8, 8))
    for count in (1, 2, 3):
        assert torch.equal(levels.partial(scales, count), scales[count - 1])
