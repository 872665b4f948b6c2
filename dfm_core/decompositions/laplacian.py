"""The Laplacian pyramid (DFM, Eq. 2): each scale is what upsampling the coarser level cannot explain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.decompositions.base import check_side


def downsample(image: Tensor, side: int) -> Tensor:
    """Mean over square cells: [B, C, H, W] -> [B, C, side, side]; H must be a multiple of side."""
    return avg_pool2d(image, image.shape[-1] // side)


def upsample(image: Tensor, side: int) -> Tensor:
    """Bilinear, cell-centred (align_corners=False): [B, C, h, w] -> [B, C, side, side]."""
    return interpolate(image, size=(side, side), mode="bilinear", align_corners=False)


@dataclass(frozen=True)
class LaplacianPyramid:
    """X^1 = D_1 and X^s = D_s - up(D_{s-1}), with D_s the image at side r_s, made level by level (numerics 2.1).

    Exact for any down and up, since the same up(D_{s-1}) is subtracted and added.
    """

    resolutions: tuple[int, ...]

    def __post_init__(self) -> None:
        for coarse, fine in pairwise(self.resolutions):
            if fine <= coarse or fine % coarse:
                raise ValueError(f"each resolution must be a multiple of the one before, got {self.resolutions}")

    def analyze(self, image: Tensor) -> list[Tensor]:
        check_side(image, self.resolutions[-1], "LaplacianPyramid")
        levels = [image]
        for side in reversed(self.resolutions[:-1]):
            levels.insert(0, downsample(levels[0], side))
        details = [fine - upsample(coarse, fine.shape[-1]) for coarse, fine in pairwise(levels)]
        return [levels[0], *details]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        return self.partial(scales, len(self.resolutions))

    def partial(self, scales: Sequence[Tensor], num_scales: int) -> Tensor:
        assert 1 <= num_scales <= len(scales), f"cannot use {num_scales} of {len(scales)} scales"
        image = scales[0]
        for scale in scales[1:num_scales]:
            image = upsample(image, scale.shape[-1]) + scale
        return image
