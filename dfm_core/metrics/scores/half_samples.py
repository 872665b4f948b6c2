"""Errors from disjoint halves of the samples, for statistics that leaving out a few samples does not describe.

Recall and coverage count unions of balls: what a few samples change is not their share of what all change, and a
jackknife's error of recall is up to 1.8 times the true one. Two halves are independent, so half the square of their
difference is the variance at N / 2 samples; quarters tell how fast it falls with N (numerics 10.6).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfm_core.seeding import sample_generator


@dataclass(frozen=True)
class HalfSamples:
    """Random splits of the samples into halves, the same for everybody; some of the halves into quarters."""

    num_samples: int
    num_splits: int
    num_strata: int = 1
    """Labels that come in turn, sample i having label i mod `num_strata`: every half has half of each."""

    def __str__(self) -> str:
        labels = f" of {self.num_strata} labels in turn" if self.num_strata > 1 else ""
        return f"{self.num_samples} samples{labels}, {self.num_splits} halvings"

    @property
    def num_quartered(self) -> int:
        """Splits of which quarters are taken too; a variance of four has three times the information of one of two."""
        return max(1, self.num_splits // 2)

    def counts(self) -> Tensor:
        """Return 1 where a sample is there, else 0: two halves of each split, four quarters of some, all samples.

        Returns: [N, 2 splits + 4 quartered + 1] float64.
        """
        quarters = torch.from_numpy(np.stack([self._quarters(split) for split in range(self.num_splits)], axis=1))
        halves = torch.stack([quarters < 2, quarters >= 2], dim=2).flatten(1)
        some = quarters[:, : self.num_quartered, None] == torch.arange(4)
        everything = torch.ones(self.num_samples, 1, dtype=torch.bool)
        return torch.cat([halves, some.flatten(1), everything], dim=1).double()

    def _quarters(self, split: int) -> np.ndarray:
        """Return the quarter of each sample, [N] int64, dealt out in turn over each label's samples in random order."""
        keys = sample_generator(0, "half_samples", split).random(self.num_samples)
        quarters = np.empty(self.num_samples, dtype=np.int64)
        quarters[np.lexsort((keys, np.arange(self.num_samples) % self.num_strata))] = np.arange(self.num_samples) % 4
        return quarters

    def influences(self, values: Tensor, *, falls_with_samples: bool) -> Tensor:
        """Return influences, the sum of whose squares is the variance of the value of all samples, [splits] float64.

        Args: values: of all columns of `counts`. falls_with_samples: the variance falls as 1 / N, as that of a mean.
            Otherwise its power of N is between -1 and the one from quarters to halves, by a third and two thirds.
        """
        halves = values[: 2 * self.num_splits].reshape(-1, 2)
        influences: Tensor = (halves[:, 0] - halves[:, 1]) / (2 * self.num_splits**0.5)
        of_halves = 2 * float((influences**2).sum())
        of_quarters = float(values[2 * self.num_splits : -1].reshape(-1, 4).var(dim=1).mean())
        if falls_with_samples or not of_halves * of_quarters:
            return influences
        factor: float = (2 * of_halves / of_quarters) ** (1 / 3)
        return influences * factor
