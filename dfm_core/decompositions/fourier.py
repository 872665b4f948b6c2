"""Fourier bands as a pyramid: each level keeps the frequencies that its side can hold (numerics 2.5)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from dfm_core.decompositions.projection import ProjectionPyramid


@cache
def band_limit(coarse: int, fine: int) -> np.ndarray:
    """Keeps the frequencies |u| < coarse / 2 of a circular signal, and samples it `coarse` times.

    The Nyquist frequency u = coarse / 2 is left out: its phase cannot be told from `coarse` real samples.

    Returns: F_coarse^* (crop) F_fine with unitary F, which is real, [coarse, fine] float64.
    """
    frequencies = np.arange(1, (coarse + 1) // 2)
    lags = np.arange(coarse)[:, None] / coarse - np.arange(fine) / fine  # [coarse, fine], in periods
    waves = 1.0 + 2.0 * np.cos(2.0 * np.pi * frequencies * lags[..., None]).sum(axis=-1)
    scaled: np.ndarray = waves / np.sqrt(coarse * fine)
    return scaled


@dataclass(frozen=True)
class FourierPyramid(ProjectionPyramid):
    """D_s holds the frequencies below r_s / 2, X^s those from r_{s-1} / 2 on."""

    def basis(self, coarse: int, fine: int) -> np.ndarray:
        return band_limit(coarse, fine)
