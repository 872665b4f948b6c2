"""The image at every resolution: what cascades and Pyramidal Flow generate one after the other (numerics 2.7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dfm_core.decompositions.base import Decomposition, check_ladder
from dfm_core.decompositions.laplacian import downsample


@dataclass(frozen=True)
class Levels(Decomposition):
    """X^s = D_s, the image as means over cells at side r_s; the last scale is the whole image."""

    resolutions: tuple[int, ...]

    def __post_init__(self) -> None:
        check_ladder(self.resolutions)

    def split(self, images: Tensor) -> list[Tensor]:
        levels = [images]
        for side in reversed(self.resolutions[:-1]):
            levels.insert(0, downsample(levels[0], side))
        return levels

    def join(self, scales: Sequence[Tensor]) -> Tensor:
        return scales[-1]
