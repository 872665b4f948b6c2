"""Streaming mean and covariance in float64."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


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
        """The neutral element of `merge`."""
        return cls(0, np.zeros(width), np.zeros((width, width)))

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Moments of a batch of features, [B, D]; accumulated in float64 on the features' device."""
        x = features.double()
        return cls(x.shape[0], x.sum(dim=0).cpu().numpy(), (x.T @ x).cpu().numpy())

    def merge(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.outer + other.outer)

    @staticmethod
    def merge_all(parts: list[Moments]) -> Moments:
        """Merges in list order, so that the result is bitwise the same wherever the parts were made."""
        return reduce(Moments.merge, parts)

    @property
    def mean(self) -> Array:
        assert self.count > 0, "no features were accumulated"
        return self.total / self.count

    @property
    def covariance(self) -> Array:
        """Unbiased covariance (N - 1), [D, D], symmetric."""
        assert self.count > 1, f"a covariance needs two samples, got {self.count}"
        mean = self.mean
        covariance = (self.outer - self.count * np.outer(mean, mean)) / (self.count - 1)
        return (covariance + covariance.T) / 2

    def arrays(self, prefix: str) -> dict[str, Array]:
        """For an npz file; `from_arrays` reads it back exactly."""
        return {f"{prefix}_count": np.array(self.count), f"{prefix}_total": self.total, f"{prefix}_outer": self.outer}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Array], prefix: str) -> Moments:
        return cls(int(arrays[f"{prefix}_count"]), arrays[f"{prefix}_total"], arrays[f"{prefix}_outer"])
