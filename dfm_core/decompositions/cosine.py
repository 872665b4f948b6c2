"""The block cosine transform in bands of growing frequency, as images or as coefficients (numerics 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import ClassVar

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor

from dfm_core.decompositions.base import Decomposition, check_ladder
from dfm_core.decompositions.constants import constant
from dfm_core.decompositions.projection import ProjectionPyramid


@cache
def cosine_matrix(length: int) -> np.ndarray:
    """Return the orthonormal DCT-II, [frequency, position] float64."""
    matrix: np.ndarray = dct(np.eye(length), norm="ortho", axis=0)
    return matrix


@cache
def low_corner(coarse: int, fine: int, blocks: int) -> np.ndarray:
    """Per block: transform, keep the low frequencies, transform back at the lower length: [coarse, fine] float64."""
    kept = coarse // blocks
    block = cosine_matrix(kept).T @ cosine_matrix(fine // blocks)[:kept]
    return np.kron(np.eye(blocks), block)


def frequencies_per_axis(resolutions: Sequence[int], block_size: int) -> tuple[int, ...]:
    """k_s = block_size r_s / r_S, [S]: the first s scales hold the frequencies (u, v) with max(u, v) < k_s.

    Raises: ValueError if the blocks do not fit, or a k_s is not whole.
    """
    check_ladder(resolutions)
    side = resolutions[-1]
    if side % block_size:
        raise ValueError(f"blocks of {block_size} do not divide side {side}")
    for coarse in resolutions:
        if coarse * block_size % side:
            raise ValueError(f"side {coarse} of {side} keeps no whole number of frequencies of a block of {block_size}")
    return tuple(coarse * block_size // side for coarse in resolutions)


@dataclass(frozen=True)
class CosinePyramid(ProjectionPyramid):
    """The bands as images, which the paper advises (appendix F). `block_size` is that of the finest level."""

    block_size: int = 8

    def __post_init__(self) -> None:
        frequencies_per_axis(self.resolutions, self.block_size)

    def basis(self, coarse: int, fine: int) -> np.ndarray:
        return low_corner(coarse, fine, self.resolutions[-1] // self.block_size)


@dataclass(frozen=True)
class CosineBands(Decomposition):
    """The bands as raw orthonormal coefficients: one pixel a block, one channel a frequency.

    Scale s is [B, C (k_s^2 - k_{s-1}^2), r_S / block_size, r_S / block_size]. A channel of the data has its
    coefficients side by side, by max(u, v), then u, then v.
    """

    orthonormal: ClassVar[bool] = True
    resolutions: tuple[int, ...]
    block_size: int = 8

    def __post_init__(self) -> None:
        frequencies_per_axis(self.resolutions, self.block_size)

    def split(self, images: Tensor) -> list[Tensor]:
        size, grid = self.block_size, self.resolutions[-1] // self.block_size
        blocks = images.reshape(*images.shape[:2], grid, size, grid, size)  # [B, C, g, i, h, j]
        matrix = constant(cosine_matrix, (size,), images.dtype, images.device)
        coefficients = torch.einsum("ui,bcgihj,vj->bcuvgh", matrix, blocks, matrix).flatten(2, 3)
        ends = [0, *(kept**2 for kept in frequencies_per_axis(self.resolutions, size))]
        order = constant(frequency_places, (size,), torch.int64, images.device)
        ordered = coefficients.index_select(2, order)  # [B, C, uv, g, h]
        return [ordered[:, :, low:high].flatten(1, 2) for low, high in pairwise(ends)]

    def join(self, scales: Sequence[Tensor]) -> Tensor:
        kept = frequencies_per_axis(self.resolutions, self.block_size)[: len(scales)]
        counts = [high**2 - low**2 for low, high in pairwise([0, *kept])]
        batch, _, grid, _ = scales[0].shape
        bands = [band.reshape(batch, -1, count, grid, grid) for band, count in zip(scales, counts, strict=True)]
        size = kept[-1]
        joined = torch.cat(bands, dim=2)
        place = constant(frequency_places, (size,), torch.int64, joined.device).argsort()
        coefficients = joined.index_select(2, place).reshape(batch, -1, size, size, grid, grid)
        matrix = (
            constant(cosine_matrix, (size,), joined.dtype, joined.device) * (size / self.block_size) ** 0.5
        )  # keeps the mean
        blocks = torch.einsum("ui,bcuvgh,vj->bcgihj", matrix, coefficients, matrix)
        return blocks.flatten(-2, -1).flatten(2, 3)


def frequency_order(size: int) -> list[tuple[int, int]]:
    """The frequencies (u, v) of a block by max(u, v), then u, then v: a prefix of size k^2 is the low k x k corner."""
    return sorted(product(range(size), range(size)), key=lambda frequency: (max(frequency), frequency))


def frequency_places(size: int) -> np.ndarray:
    """Return the place u size + v of each frequency in `frequency_order`, [size^2] int64."""
    return np.array([u * size + v for u, v in frequency_order(size)])
