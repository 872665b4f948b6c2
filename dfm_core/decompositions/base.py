"""The contract of a decomposition: a pair of maps between an image and its scales (DFM, section 3.2; numerics 2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from torch import Tensor


class Decomposition(ABC):
    """Splits images into scales, coarsest first, and puts them together again, exactly; a video frame by frame
    (numerics 2)."""

    linear: ClassVar[bool] = True
    """Both maps are linear and leave channels apart."""
    orthonormal: ClassVar[bool] = False
    """The scales' energies add up to the image's, each counted (resolutions[-1] / r_s)^2 times in the spatial
    domain."""
    any_size: ClassVar[bool] = False
    """Takes data of other sizes than resolutions[-1] too, also of unequal sides."""
    resolutions: tuple[int, ...]
    """Side of each scale, coarsest first; where any size is taken, its ratios."""

    @abstractmethod
    def split(self, images: Tensor) -> list[Tensor]:
        """`analyze` of images [B, C, H, W]."""

    @abstractmethod
    def join(self, scales: Sequence[Tensor]) -> Tensor:
        """`partial` of all the given scales, one to all of them, of images."""

    def analyze(self, data: Tensor) -> list[Tensor]:
        """Return the scales of images or videos, coarsest first.

        Args: data: [B, C, H, W] or [B, C, T, H, W] of a size that `check_size` accepts.
        Returns: scale s is [B, C_s, h_s, w_s] or [B, C_s, T, h_s, w_s], with the size and channels that
            `DecompositionConfig.scale_sizes` and `.channels` say.
        Raises: ValueError if the data has another size.
        """
        images, frames = fold_frames(data)
        self.check_size(data)
        return [unfold_frames(scale, frames) for scale in self.split(images)]

    def check_size(self, data: Tensor) -> None:
        """Raises: ValueError unless H = W = resolutions[-1]."""
        side = self.resolutions[-1]
        if data.shape[-2:] != (side, side):
            raise ValueError(f"{type(self).__name__} was made for {_of_side(side)}, got {list(data.shape)}")

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """Return the data of which `scales` are the scales; the inverse of `analyze`."""
        return self.partial(scales, len(self.resolutions))

    def partial(self, scales: Sequence[Tensor], num_scales: int) -> Tensor:
        """Return the data seen by the first `num_scales` scales, at the resolution of the last of them,
        [B, C, (T,) r, r]."""
        assert 1 <= num_scales <= len(scales), f"cannot use {num_scales} of {len(scales)} scales"
        folded = [fold_frames(scale) for scale in scales[:num_scales]]
        return unfold_frames(self.join([images for images, _ in folded]), folded[0][1])


@dataclass(frozen=True)
class PyramidDecomposition(Decomposition):
    """X^1 = D_1 and X^s = D_s - up(D_{s-1}), with D_s the image at side r_s, made level by level (DFM, Eq. 2).

    Exact for any down and up, since the same up(D_{s-1}) is subtracted and added; the first k scales give D_k.
    """

    resolutions: tuple[int, ...]

    def __post_init__(self) -> None:
        check_ladder(self.resolutions)

    @abstractmethod
    def down(self, image: Tensor, side: int) -> Tensor:
        """Return the level below: [B, C, r_s, r_s] -> [B, C, side, side], an image with the same mean."""

    @abstractmethod
    def up(self, image: Tensor, side: int) -> Tensor:
        """Predict the level above from a level: [B, C, r_s, r_s] -> [B, C, side, side]."""

    def levels(self, images: Tensor) -> list[Tensor]:
        """D_1 to D_S, the last the images themselves."""
        levels = [images]
        for side in reversed(self.resolutions[:-1]):
            levels.insert(0, self.down(levels[0], side))
        return levels

    def details(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """X^2 to X^S of the levels."""
        return [fine - self.up(coarse, fine.shape[-1]) for coarse, fine in pairwise(levels)]

    def split(self, images: Tensor) -> list[Tensor]:
        levels = self.levels(images)
        return [levels[0], *self.details(levels)]

    def join(self, scales: Sequence[Tensor]) -> Tensor:
        image = scales[0]
        for scale in scales[1:]:
            image = self.up(image, scale.shape[-1]) + scale
        return image


def check_ladder(resolutions: Sequence[int]) -> None:
    """Raises: ValueError unless each resolution is a larger multiple of the one before."""
    for coarse, fine in pairwise(resolutions):
        if fine <= coarse or fine % coarse:
            raise ValueError(f"each resolution must be a multiple of the one before, got {tuple(resolutions)}")


def check_halvings(resolutions: Sequence[int], name: str) -> None:
    """Raises: ValueError unless each resolution is the one before, doubled once or more."""
    check_ladder(resolutions)
    for coarse, fine in pairwise(resolutions):
        ratio = fine // coarse
        if ratio & (ratio - 1):
            raise ValueError(f"{name} halves the side, but {fine} is {ratio} times {coarse}: give a power of 2")


def _of_side(side: int) -> str:
    return f"[B, C, {side}, {side}] images or [B, C, T, {side}, {side}] videos"


def fold_frames(data: Tensor) -> tuple[Tensor, int | None]:
    """[B, C, T, H, W] -> [B T, C, H, W] and T; images are left alone, with None.

    Raises: ValueError if the data is neither.
    """
    if data.ndim not in (4, 5):
        raise ValueError(f"a decomposition was made for [B, C, H, W] images or videos, got {list(data.shape)}")
    if data.ndim == 4:
        return data, None
    return data.transpose(1, 2).flatten(0, 1), data.shape[2]


def unfold_frames(images: Tensor, frames: int | None) -> Tensor:
    """Return the inverse of `fold_frames`."""
    return images if frames is None else images.reshape(-1, frames, *images.shape[1:]).transpose(1, 2)
