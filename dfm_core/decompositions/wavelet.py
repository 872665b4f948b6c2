"""Orthonormal wavelets as a pyramid: the low-pass band is the coarse image (numerics 2.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pywt

from dfm_core.config.choices import WaveletFamily
from dfm_core.decompositions.base import check_halvings
from dfm_core.decompositions.projection import ProjectionPyramid


@cache
def low_pass(family: WaveletFamily, coarse: int, fine: int) -> np.ndarray:
    """Return the low-pass half of the transform of a circular signal, once per halving: [coarse, fine] float64.

    Its rows are orthonormal. Periodization is the one mode that halves the length and stays orthonormal.
    """
    matrix = np.eye(fine)
    for _ in range((fine // coarse).bit_length() - 1):
        matrix, _ = pywt.dwt(matrix, family, mode="periodization", axis=0)
    return matrix


@dataclass(frozen=True)
class WaveletPyramid(ProjectionPyramid):
    """D_{s-1} = LL / 2 per halving, and X^s holds the three detail bands as one image."""

    family: WaveletFamily = "haar"

    def __post_init__(self) -> None:
        check_halvings(self.resolutions, "wavelet")

    def basis(self, coarse: int, fine: int) -> np.ndarray:
        return low_pass(self.family, coarse, fine)
