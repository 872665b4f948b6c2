"""The power of images and latents by frequency (paper, 2.3 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.fft import dctn
from torch import Tensor

from dfm_core.metrics.scores.moments import Array

NUM_BANDS = 8


@dataclass(frozen=True)
class Spectrum:
    """Power by radial frequency, summed over samples and channels; `merge` adds two."""

    power: Array
    """[NUM_BANDS]; band k holds frequencies from k to k + 1 eighths of the highest along an axis, the last also the
    corner beyond. The constant is left out."""

    @classmethod
    def empty(cls) -> Spectrum:
        return cls(np.zeros(NUM_BANDS))

    @classmethod
    def of(cls, x: Tensor) -> Spectrum:
        """Return the spectrum of a batch, [B, C, H, W], or [B, C, T, H, W] frame by frame.

        The orthonormal cosine transform sees no jump where an image ends.
        """
        frames = x.detach().flatten(0, -3).to("cpu", torch.float64).numpy()
        height, width = frames.shape[-2:]
        squares: Array = (dctn(frames, axes=(-2, -1), norm="ortho") ** 2).sum(axis=0)
        rows, columns = np.arange(height) / height, np.arange(width) / width
        radius = np.hypot(rows[:, None], columns[None, :])
        bands = np.minimum((radius * NUM_BANDS).astype(np.int64), NUM_BANDS - 1)
        squares[0, 0] = 0.0
        return cls(np.bincount(bands.ravel(), squares.ravel(), NUM_BANDS).astype(np.float64))

    def merge(self, other: Spectrum) -> Spectrum:
        return Spectrum(self.power + other.power)

    @property
    def shares(self) -> Array:
        """Each band's share of the power, [NUM_BANDS]; sums to 1, or is 0 everywhere if there is no power."""
        total = self.power.sum()
        return self.power / total if total > 0 else self.power

    @property
    def high_share(self) -> float:
        """Share of the power in the upper half of the frequencies."""
        return float(self.shares[NUM_BANDS // 2 :].sum())
