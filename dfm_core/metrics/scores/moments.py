"""Streaming mean and covariance in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dfm_core.metrics.scores.accumulator import require_finite

Array = NDArray[np.float64]

_CHUNK_ROWS = 4096
"""Rows of features that are weighted at once, so that no second copy of all of them is made."""


@dataclass(frozen=True)
class GaussianStatistics:
    """Mean and covariance without the sums behind them, such as published ones. They can't be merged with others."""

    mean: Array
    """[D]."""
    covariance: Array
    """[D, D]."""
    count: int | None
    """Feature vectors behind it, if known."""

    def __post_init__(self) -> None:
        width = self.width
        assert self.covariance.shape == (width, width), f"[{width}] and {list(self.covariance.shape)} do not fit"

    @property
    def width(self) -> int:
        """D."""
        return len(self.mean)


@dataclass(frozen=True)
class Moments:
    """Count, sum and sum of outer products of feature vectors; `merge` is associative up to rounding."""

    count: int
    total: Array
    """Sum of the features, [D]."""
    outer: Array
    """Sum of the outer products, [D, D]."""

    @classmethod
    def empty(cls, width: int) -> Moments:
        """Return the neutral element of `merge`."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Moments of a batch of features, [B, D]; accumulated in float64 on the features' device.

        Raises: ValueError if rows are not finite, with their count and positions.
        """
        require_finite("features", features, torch.arange(len(features)))
        x = features.double()
        return cls(x.shape[0], x.sum(dim=0).cpu().numpy(), (x.T @ x).cpu().numpy())

    @classmethod
    def weighted(cls, features: Tensor, counts: Tensor) -> Moments:
        """Moments of features, [N, D], of which row i is there counts[i] times, [N], whole numbers."""
        width = features.shape[1]
        total = torch.zeros(width, dtype=torch.float64, device=features.device)
        outer = torch.zeros(width, width, dtype=torch.float64, device=features.device)
        for begin in range(0, len(features), _CHUNK_ROWS):
            x = features[begin : begin + _CHUNK_ROWS].double()
            repeated = x * counts[begin : begin + _CHUNK_ROWS, None].to(x)
            total += repeated.sum(dim=0)
            outer += repeated.T @ x
        return cls(int(counts.sum()), total.cpu().numpy(), outer.cpu().numpy())

    def merge(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @property
    def width(self) -> int:
        """D."""
        return len(self.total)

    @property
    def mean(self) -> Array:
        assert self.count > 0, "no features were accumulated"
        return self.total / self.count

    @property
    def covariance(self) -> Array:
        """Unbiased covariance (N - 1), [D, D], symmetric."""
        assert self.count > 1, f"a covariance needs two samples, got {self.count}"
        mean = self.mean
        covariance: Array = np.outer(mean, mean)
        # In place: at D = 2048 every further [D, D] is 32 MiB.
        covariance *= self.count
        np.subtract(self.outer, covariance, out=covariance)
        covariance /= self.count - 1
        symmetric: Array = covariance + covariance.T
        symmetric /= 2
        return symmetric

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Return the arrays of an npz file; `from_arrays` reads them back exactly."""
        return {f"{prefix}_count": np.array(self.count), f"{prefix}_total": self.total, f"{prefix}_outer": self.outer}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], prefix: str) -> Moments:
        return cls(int(arrays[f"{prefix}_count"]), arrays[f"{prefix}_total"], arrays[f"{prefix}_outer"])


GaussianLike = GaussianStatistics | Moments
"""Statistics of a set of features that a Fréchet distance reads."""
