"""What a decomposition is: a pair of linear maps between an image and its scales (DFM, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class Decomposition(Protocol):
    """Splits an image into scales, coarsest first, and puts them together again, exactly."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Side of each scale, coarsest first."""

    def analyze(self, image: Tensor) -> list[Tensor]:
        """The scales of an image.

        Args: image: [B, C, H, W] with H = W = resolutions[-1].
        Returns: scale s is [B, C, resolutions[s], resolutions[s]], coarsest first.
        Raises: ValueError if the side is not resolutions[-1].
        """

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """The image of which `scales` are the scales, [B, C, H, W]; the inverse of `analyze`."""

    def partial(self, scales: Sequence[Tensor], num_scales: int) -> Tensor:
        """The image seen by the first `num_scales` scales, at their own side, [B, C, r, r]."""


def check_side(image: Tensor, side: int, name: str) -> None:
    """Refuses an image that the decomposition was not made for."""
    if image.ndim != 4 or image.shape[-2:] != (side, side):
        raise ValueError(f"{name} was made for [B, C, {side}, {side}] images, got {list(image.shape)}")
