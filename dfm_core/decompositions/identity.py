"""One scale, the image itself: with it, DFM is flow matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dfm_core.decompositions.base import check_side


@dataclass(frozen=True)
class Identity:
    """The decomposition that does nothing."""

    resolutions: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.resolutions) != 1:
            raise ValueError(f"the identity has one scale, got resolutions {self.resolutions}")

    def analyze(self, image: Tensor) -> list[Tensor]:
        check_side(image, self.resolutions[-1], "Identity")
        return [image]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        return self.partial(scales, 1)

    def partial(self, scales: Sequence[Tensor], num_scales: int) -> Tensor:
        assert num_scales == len(scales) == 1, f"the identity has one scale, got {num_scales} of {len(scales)}"
        return scales[0]
