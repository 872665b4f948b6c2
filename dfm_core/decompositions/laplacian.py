"""The Laplacian pyramid (DFM, Eq. 2): each scale is what upsampling the coarser level cannot explain."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.config.choices import Upsampling
from dfm_core.decompositions.base import PyramidDecomposition


def downsample(image: Tensor, side: int) -> Tensor:
    """Return the mean over square cells: [B, C, H, W] -> [B, C, side, side]; H must be a multiple of side."""
    return avg_pool2d(image, image.shape[-1] // side)


def upsample(image: Tensor, side: int, upsampling: Upsampling = "direct") -> Tensor:
    """Bilinear, cell-centred (align_corners=False): [B, C, h, w] -> [B, C, side, side].

    `doubling` resizes by 2 as often as that divides the ratio, and by the rest at last.
    """
    while upsampling == "doubling" and side > 2 * image.shape[-1] and side % (2 * image.shape[-1]) == 0:
        image = upsample(image, 2 * image.shape[-1])
    return interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LaplacianPyramid(PyramidDecomposition):
    """Mean over cells down, bilinear up (numerics 2.1)."""

    upsampling: Upsampling = "direct"

    def down(self, image: Tensor, side: int) -> Tensor:
        return downsample(image, side)

    def up(self, image: Tensor, side: int) -> Tensor:
        return upsample(image, side, self.upsampling)
