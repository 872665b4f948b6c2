"""One scale, the image itself: with it, DFM is flow matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dfm_core.decompositions.base import Decomposition


@dataclass(frozen=True)
class Identity(Decomposition):
    """The decomposition that does nothing."""

    orthonormal: ClassVar[bool] = True
    any_size: ClassVar[bool] = True
    resolutions: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.resolutions) != 1:
            raise ValueError(f"the identity has one scale, got resolutions {self.resolutions}")

    def check_size(self, data: Tensor) -> None:
        """Accept every size."""

    def split(self, images: Tensor) -> list[Tensor]:
        return [images]

    def join(self, scales: Sequence[Tensor]) -> Tensor:
        (image,) = scales
        return image
