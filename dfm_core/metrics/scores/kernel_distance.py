"""KID: the squared maximum mean discrepancy with a cubic kernel (Binkowski et al. 2018; numerics 10.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Score
from dfm_core.metrics.scores.feature_store import FeatureStore, StoringAccumulator, row_blocks
from dfm_core.seeding import sample_generator


@dataclass(frozen=True)
class KernelDistanceAccumulator(StoringAccumulator):
    """All features and the settings of the scores."""

    num_subsets: int
    subset_size: int
    seed: int

    @classmethod
    def empty(
        cls, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0, device: torch.device | str = "cpu"
    ) -> KernelDistanceAccumulator:
        return cls(FeatureStore.empty(device), num_subsets, subset_size, seed)

    def compute(self, reference: Tensor, /) -> dict[str, Score]:
        """Args: reference: features, [M, D]."""
        samples = self.store.ordered().flatten(0, -2)
        subsets = draw_subsets(self.seed, self.num_subsets, self.subset_size, len(samples), len(reference))
        return {"kernel_distance": kernel_distance(samples, reference, subsets)}


Subsets = list[tuple[np.ndarray, np.ndarray]]
"""Rows of the samples and of the reference, each [subset size]."""


def draw_subsets(seed: int, num_subsets: int, subset_size: int, num_samples: int, num_reference: int) -> Subsets:
    """Return rows without replacement; subset j depends on (seed, j) and the two numbers alone.

    Raises: ValueError if a set is smaller than a subset.
    """
    if min(num_samples, num_reference) < subset_size:
        raise ValueError(
            f"kernel distance: subsets of {subset_size} need as many samples and reference features, "
            f"got {num_samples} and {num_reference}"
        )
    sizes = (("kernel_distance_samples", num_samples), ("kernel_distance_reference", num_reference))
    picks = [
        [sample_generator(seed, stream, subset).choice(size, subset_size, replace=False) for stream, size in sizes]
        for subset in range(num_subsets)
    ]
    return [(samples, reference) for samples, reference in picks]


def kernel_distance(samples: Tensor, reference: Tensor, subsets: Subsets) -> Score:
    """Mean of the unbiased MMD^2 over subsets, with their population standard deviation as `spread`; can be negative.

    Args: samples: [N, D]. reference: [M, D].
    """
    values = [
        float(unbiased_mmd2(samples[torch.from_numpy(rows)], reference[torch.from_numpy(others)]))
        for rows, others in subsets
    ]
    return Score(float(np.mean(values)), spread=float(np.std(values)))


def unbiased_mmd2(samples: Tensor, reference: Tensor) -> Tensor:
    """mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean k(x_i, y_j), a float64 scalar.

    Args: samples: x, [N, D]. reference: y, [M, D]; both 2 rows at least.
    """
    ones = torch.ones(len(samples), 1, device=samples.device)
    return weighted_mmd2(samples, reference, ones)[0]


def weighted_mmd2(samples: Tensor, reference: Tensor, counts: Tensor) -> Tensor:
    """`unbiased_mmd2` for every column of counts, for `errors`.

    Pairs of a row with its own copies are left out, as pairs of a row with itself are.

    Args: counts: how often each sample is there, [N, R]. Returns: [R] float64.
    """
    assert min(len(samples), len(reference)) >= 2, "an unbiased estimate needs two samples of each"
    x, y = samples.double(), reference.to(samples.device).double()
    w = counts.to(x)
    ones = torch.ones(len(y), 1, dtype=x.dtype, device=x.device)
    num_pairs = w.sum(dim=0) ** 2 - (w**2).sum(dim=0)
    within = _distinct_pair_sums(x, w) / num_pairs
    of_reference = _distinct_pair_sums(y, ones) / (len(y) * (len(y) - 1))
    across = _cross_sums(x, y, w) / (w.sum(dim=0) * len(y))
    return within + of_reference - 2 * across


def _distinct_pair_sums(x: Tensor, weights: Tensor) -> Tensor:
    """sum_{i != j} weights_i k(x_i, x_j) weights_j of every column, [R]; each pair is computed once, as i < j."""
    total = torch.zeros(weights.shape[1], dtype=x.dtype, device=x.device)
    for rows in row_blocks(len(x), len(x)):
        above = _kernel(x[rows] @ x[rows.start :].T, x.shape[1]).triu_(diagonal=1)
        total += (weights[rows] * (above @ weights[rows.start :])).sum(dim=0)
    return 2 * total


def _cross_sums(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """sum_ij weights_i k(x_i, y_j) of every column, [R]; a block of rows at a time."""
    blocks = row_blocks(len(x), len(y))
    return weights.T @ torch.cat([_kernel(x[rows] @ y.T, x.shape[1]).sum(dim=1) for rows in blocks])


def _kernel(products: Tensor, width: int) -> Tensor:
    """(x . y / D + 1)^3."""
    return (products / width + 1) ** 3
