"""The Laplacian pyramid (DFM, Eq. 2): each scale is what upsampling the coarser level cannot explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.config.choices import Upsampling
from dfm_core.decompositions.base import Decomposition, PyramidDecomposition, check_ladder


def downsample(image: Tensor, side: int) -> Tensor:
    """Return the mean over square cells: [B, C, H, W] -> [B, C, h, side] of the same aspect; W must be a multiple of
    side."""
    return avg_pool2d(image, image.shape[-1] // side)


def upsample(image: Tensor, side: int, upsampling: Upsampling = "direct") -> Tensor:
    """Bilinear, cell-centred (align_corners=False): [B, C, h, w] -> [B, C, H, side] of the same aspect.

    `doubling` resizes by 2 as often as that divides the ratio, and by the rest at last.
    """
    while upsampling == "doubling" and side > 2 * image.shape[-1] and side % (2 * image.shape[-1]) == 0:
        image = upsample(image, 2 * image.shape[-1])
    size = (image.shape[-2] * side // image.shape[-1], side)
    return interpolate(image, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LaplacianPyramid(PyramidDecomposition):
    """Mean over cells down, bilinear up (numerics 2.1)."""

    upsampling: Upsampling = "direct"

    def down(self, image: Tensor, side: int) -> Tensor:
        return downsample(image, side)

    def up(self, image: Tensor, side: int) -> Tensor:
        return upsample(image, side, self.upsampling)


@dataclass(frozen=True)
class HeldLaplacianPyramid(Decomposition):
    """Both scales at the data's size, which may be any multiple of the ratio (numerics 2.8).

    X^1 = up(down(D)) and X^2 = D - up(down(X^1)): exact for any down and up, and what is generated as X^1 enters the
    image through the small image down(X^1) alone.
    """

    any_size: ClassVar[bool] = True
    resolutions: tuple[int, ...]
    upsampling: Upsampling = "direct"

    def __post_init__(self) -> None:
        check_ladder(self.resolutions)
        if len(self.resolutions) != 2:
            raise ValueError(f"scales are held at full size where there are two scales, got {self.resolutions}")

    def check_size(self, data: Tensor) -> None:
        ratio = self.resolutions[1] // self.resolutions[0]
        if data.shape[-2] % ratio or data.shape[-1] % ratio:
            size = f"[B, C, (T,) H, W] with H and W multiples of {ratio}"
            raise ValueError(f"{type(self).__name__} was made for {size}, got {list(data.shape)}")

    def split(self, images: Tensor) -> list[Tensor]:
        held = self._up(self._down(images))
        return [held, images - self._up(self._down(held))]

    def join(self, scales: Sequence[Tensor]) -> Tensor:
        coarse = self._down(scales[0])
        return coarse if len(scales) == 1 else self._up(coarse) + scales[1]

    def _down(self, image: Tensor) -> Tensor:
        coarse, fine = self.resolutions
        return downsample(image, image.shape[-1] * coarse // fine)

    def _up(self, image: Tensor) -> Tensor:
        coarse, fine = self.resolutions
        return upsample(image, image.shape[-1] * fine // coarse, self.upsampling)
