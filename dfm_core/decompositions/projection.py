"""Pyramids whose coarse level is an orthogonal projection of the finer one, row by row and column by column."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from dfm_core.decompositions.base import PyramidDecomposition
from dfm_core.decompositions.constants import constant


@dataclass(frozen=True)
class ProjectionPyramid(PyramidDecomposition):
    """down(D) = (m/n) A D A^T and up(D) = (n/m) A^T D A with A^T A an orthogonal projection (numerics 2.2).

    The factor keeps the mean. up(down(D)) is the projection of D, so that X^s is orthogonal to it and energies add up.
    Matrix products and not convolutions: those may run in TF32, with three digits, on a GPU.
    """

    orthonormal: ClassVar[bool] = True

    @abstractmethod
    def basis(self, coarse: int, fine: int) -> np.ndarray:
        """Return A, [coarse, fine] float64, for neighbouring resolutions; cached, so not to be written to."""

    def down(self, image: Tensor, side: int) -> Tensor:
        fine = image.shape[-1]
        return _on_both_axes(self._factor(side, fine, image), image) * (side / fine)

    def up(self, image: Tensor, side: int) -> Tensor:
        coarse = image.shape[-1]
        return _on_both_axes(self._factor(coarse, side, image).T, image) * (side / coarse)

    def _factor(self, coarse: int, fine: int, image: Tensor) -> Tensor:
        return constant(self.basis, (coarse, fine), image.dtype, image.device)


def _on_both_axes(factor: Tensor, image: Tensor) -> Tensor:
    """[m, n] on [B, C, n, n] -> [B, C, m, m]."""
    return factor @ image @ factor.T
