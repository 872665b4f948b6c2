"""Errors and biases by leaving out groups of samples, the delete-a-group jackknife (numerics 10.6).

Groups may differ in size (Busing, Meijer and van der Leeden 1999). The reference set is held fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config.evaluation_rules import MIN_GROUPS


@dataclass(frozen=True)
class Groups:
    """The groups of samples that are left out, one at a time; a sample's group follows from its index."""

    num_samples: int
    num_groups: int
    num_strata: int = 1
    """Labels that come in turn, sample i having label i mod `num_strata`, and that every group holds equally often."""

    @classmethod
    def of(cls, num_samples: int, most: int, num_labels: int) -> Groups:
        """Return at most so many groups.

        Args: num_labels: labels that come in turn; 1: labels are drawn at random, or there are none.
        """
        each = num_samples // num_labels
        if each < MIN_GROUPS:  # too few groups could hold every label equally often
            each, num_labels = num_samples, 1
        return cls(num_samples, max(2, min(most, each)), num_labels)

    def __str__(self) -> str:
        labels = f" of {self.num_strata} labels in turn" if self.num_strata > 1 else ""
        return f"{self.num_samples} samples{labels}, {self.num_groups} groups"

    def of_samples(self, indices: Tensor) -> Tensor:
        """Return the group of each sample, [B] int64; the labels of a turn have one group."""
        return indices // self.num_strata % self.num_groups

    @property
    def sizes(self) -> Tensor:
        """Samples of each group, [G] float64."""
        return torch.bincount(self.of_samples(torch.arange(self.num_samples)), minlength=self.num_groups).double()

    def counts(self, rows_per_sample: int = 1) -> Tensor:
        """Return 1 for each row that is there, else 0: without each group, without it and the next, and with all.

        Args: rows_per_sample: feature rows of one sample, side by side, such as the frames of a video.
        Returns: [N * rows_per_sample, 2 G + 1] float64.
        """
        own = self.of_samples(torch.arange(self.num_samples))[:, None] == torch.arange(self.num_groups)
        everything = torch.ones(self.num_samples, 1, dtype=torch.bool)
        there = torch.cat([~own, ~(own | own.roll(-1, dims=1)), everything], dim=1)
        return there.double().repeat_interleave(rows_per_sample, dim=0)


@dataclass(frozen=True)
class Jackknife:
    """Influence of each group on an estimate, and the estimate's bias."""

    influences: Tensor
    """[G] float64; the sum of their squares is the estimate's variance. Those of a difference of two estimates over the
    same groups are the differences of theirs."""
    bias: float
    """Estimated by the first order in 1 / N."""


def jackknife(whole: float, without: Tensor, sizes: Tensor) -> Jackknife:
    """Return influences and bias of an estimate.

    With n samples, m_g of group g and h_g = n / m_g, the pseudo-values are h_g whole - (h_g - 1) without_g.

    Args: whole: from all samples. without: with each group left out, [G]. sizes: samples of each group, [G].
    Raises: ValueError if there are fewer than two groups, or an empty one.
    """
    num_groups = len(sizes)
    if num_groups < 2 or float(sizes.min()) < 1:
        raise ValueError(f"a jackknife needs two groups, none of them empty, got sizes {sizes.tolist()[:10]}")
    h = sizes.sum() / sizes
    corrected = num_groups * whole - float(((1 - 1 / h) * without).sum())
    pseudo = h * whole - (h - 1) * without
    return Jackknife((pseudo - corrected) / (num_groups * (h - 1)).sqrt(), whole - corrected)


def jackknife_of_pairs(values: Tensor, sizes: Tensor) -> Jackknife:
    """Return influences and bias, where pairs of samples count beside single ones: distances near their floor.

    A jackknife's variance counts the part that is due to pairs twice. Leaving out two groups shows that part, and its
    estimate is taken off (Efron and Stein 1981), at most half of all; influences shrink alike.

    Args: values: the estimates of `Groups.counts`, [2 G + 1]. sizes: samples of each group, [G].
    """
    num_groups, (whole, values) = len(sizes), (float(values[-1]), values.double().cpu())
    one, two = values[:num_groups], values[num_groups:-1]
    found = jackknife(whole, one, sizes)
    pairs = num_groups * whole - (num_groups - 1) * (one + one.roll(-1)) + (num_groups - 2) * two
    variance = float((found.influences**2).sum())
    share = min(0.5, float(pairs.var()) / 2 / variance) if variance else 0.0
    return Jackknife(found.influences * (1 - share) ** 0.5, found.bias)
