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
    resolutions: tuple[int, ...]
    """Side of each scale, coarsest first."""

    @abstractmethod
    def split(self, images: Tensor) -> list[Tensor]:
        """`analyze` of images [B, C, H, W]."""

    @abstractmethod
    def join(self, scales: Sequence[Tensor]) -> Tensor:
        """`partial` of all the given scales, one to all of them, of images."""

    def analyze(self, data: Tensor) -> list[Tensor]:
        """Return the scales of images or videos, coarsest first.

        Args: data: [B, C, H, W] or [B, C, T, H, W] with H = W = resolutions[-1].
        Returns: scale s is [B, C_s, r_s, r_s] or [B, C_s, T, r_s, r_s], with the side and channels that
            `DecompositionConfig.sides` and `.channels` say.
        Raises: ValueError if the side is not resolutions[-1].
        """
        images, frames = fold_frames(data, self.resolutions[-1], type(self).__name__)
        return [unfold_frames(scale, frames) for scale in self.split(images)]

    def synthesize(self, scales: Sequence[Tensor]) -> Tensor:
        """Return the data of which `scales` are the scales; the inverse of `analyze`."""
        return self.partial(scales, len(self.resolutions))

    def partial(self, scales: Sequence[Tensor], num_scales: int) -> Tensor:
        """Return the data seen by the first `num_scales` scales, at the side of the last of them, [B, C, (T,) r, r]."""
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


def fold_frames(data: Tensor, side: int | None = None, name: str = "") -> tuple[Tensor, int | None]:
    """[B, C, T, H, W] -> [B T, C, H, W] and T; images are left alone, with None.

    Raises: ValueError if a `side` is given and the data has another one.
    """
    if data.ndim not in (4, 5) or (side is not None and data.shape[-2:] != (side, side)):
        shapes = f"[B, C, {side}, {side}] images or [B, C, T, {side}, {side}] videos"
        raise ValueError(f"{name} was made for {shapes}, got {list(data.shape)}")
    if data.ndim == 4:
        return data, None
    return data.transpose(1, 2).flatten(0, 1), data.shape[2]


def unfold_frames(images: Tensor, frames: int | None) -> Tensor:
    """Return the inverse of `fold_frames`."""
    return images if frames is None else images.reshape(-1, frames, *images.shape[1:]).transpose(1, 2)
