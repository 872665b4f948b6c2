"""Standard errors by resampling the samples (Efron 1979; numerics 10.6). The reference set is held fixed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dfm_core.seeding import sample_generator

Statistic = Callable[[Tensor], dict[str, Tensor]]
"""counts [N, R] -> scores by name, [R] each. Made from the `weighted_*` function of a metric and kept features, e.g.
`lambda counts: {"fid": weighted_frechet_distances(features, reference, counts)}`."""


def resampling_counts(num_samples: int, num_replicates: int, seed: int) -> Tensor:
    """Count each sample in each replicate, [N, R] float64; columns sum to N and depend on (seed, r, N)."""
    columns = [
        np.bincount(
            sample_generator(seed, "bootstrap", replicate).integers(num_samples, size=num_samples),
            minlength=num_samples,
        )
        for replicate in range(num_replicates)
    ]
    return torch.from_numpy(np.stack(columns, axis=1)).double()


def standard_errors(
    statistic: Statistic, num_samples: int, num_replicates: int = 200, seed: int = 0, rows_per_sample: int = 1
) -> dict[str, float]:
    """Return the standard deviation of each score over replicates (R - 1).

    Args: num_samples: what is drawn anew: images, or whole videos. rows_per_sample: feature rows that belong to one of
        them, side by side, such as the frames of a video.
    Raises: ValueError if there are fewer than two samples or replicates.
    """
    if min(num_samples, num_replicates) < 2:
        raise ValueError(f"a standard error needs two samples and two replicates, got {num_samples}, {num_replicates}")
    counts = resampling_counts(num_samples, num_replicates, seed).repeat_interleave(rows_per_sample, dim=0)
    return {name: float(values.double().std(correction=1)) for name, values in statistic(counts).items()}
