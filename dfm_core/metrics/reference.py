"""Real images as one feature network sees them: moments of all, features of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from dfm_core.config.evaluation_rules import MAX_REFERENCE_FEATURES
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.scores.feature_store import FeatureStore
from dfm_core.metrics.scores.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.scores.moments import GaussianLike, GaussianStatistics, Moments
from dfm_core.seeding import permutation

_MOMENTS, _FEATURES, _MEAN, _COVARIANCE = "moments", "features", "mean", "covariance"


@dataclass(frozen=True)
class Reference:
    """Statistics of real samples, by name of the network's output."""

    moments: Mapping[str, GaussianLike]
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Features of some images, [M, D], or [M, frames, D]; empty if only moments are known."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of an npz file; `from_arrays` reads them back exactly."""
        arrays: dict[str, np.ndarray] = {}
        for name, moments in self.moments.items():
            if isinstance(moments, Moments):
                arrays |= moments.arrays(f"{_MOMENTS}/{name}")
            else:
                arrays |= {f"{_MEAN}/{name}": moments.mean, f"{_COVARIANCE}/{name}": moments.covariance}
        return arrays | {f"{_FEATURES}/{name}": kept.numpy() for name, kept in self.features.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Reference:
        moments: dict[str, GaussianLike] = {}
        for key in arrays:
            kind, _, name = key.partition("/")
            if kind == _MOMENTS and name.endswith("_count"):
                output = name.removesuffix("_count")
                moments[output] = Moments.from_arrays(arrays, f"{_MOMENTS}/{output}")
            elif kind == _MEAN:
                moments[name] = GaussianStatistics(arrays[key], arrays[f"{_COVARIANCE}/{name}"], None)
        features = {
            key.partition("/")[2]: torch.from_numpy(value)
            for key, value in arrays.items()
            if key.startswith(f"{_FEATURES}/")
        }
        return cls(moments, features)


@dataclass(frozen=True)
class ReferenceAccumulator:
    """Moments and features of real images so far; merges as all accumulators do."""

    moments: Mapping[str, FrechetAccumulator]
    features: Mapping[str, FeatureStore]
    num_images: int
    """Images to expect in all; it decides which of them are stored."""

    @classmethod
    def empty(cls, widths: Mapping[str, int], num_images: int, device: torch.device | str) -> ReferenceAccumulator:
        """Args: widths: of a row, by output."""
        return cls(
            {name: FrechetAccumulator.empty(width, device) for name, width in widths.items()},
            {name: FeatureStore.empty() for name in widths},
            num_images,
        )

    def update(self, batches: Mapping[str, Batch]) -> ReferenceAccumulator:
        """Add some images, one batch for each output."""
        moments = {name: known.update(batches[name]) for name, known in self.moments.items()}
        features = {name: known.update(_rows(batches[name], self.num_images)) for name, known in self.features.items()}
        return ReferenceAccumulator(moments, features, self.num_images)

    def merge(self, other: ReferenceAccumulator) -> ReferenceAccumulator:
        assert self.num_images == other.num_images, f"{self.num_images} and {other.num_images} images do not merge"
        moments = {name: known.merge(other.moments[name]) for name, known in self.moments.items()}
        features = {name: known.merge(other.features[name]) for name, known in self.features.items()}
        return ReferenceAccumulator(moments, features, self.num_images)

    def to(self, device: torch.device | str) -> ReferenceAccumulator:
        moments = {name: known.to(device) for name, known in self.moments.items()}
        features = {name: known.to(device) for name, known in self.features.items()}
        return ReferenceAccumulator(moments, features, self.num_images)

    def compute(self) -> Reference:
        """Raises: ValueError if fewer than two images came, or one came twice."""
        if min(known.count for known in self.moments.values()) < 2:
            raise ValueError("statistics of real images need two images")
        features = {name: stored.ordered() for name, stored in self.features.items()}
        return Reference({name: known.moments for name, known in self.moments.items()}, features)


@lru_cache(maxsize=4)
def stored_rows(num_images: int) -> np.ndarray:
    """The images whose features are kept, ascending: a random choice, the same for everybody, since data is often
    sorted by class."""
    return np.sort(permutation(0, "kept_reference_features", 0, num_images)[:MAX_REFERENCE_FEATURES])


def _rows(batch: Batch, num_images: int) -> Batch:
    """Return the part of a batch that is kept."""
    chosen = torch.from_numpy(np.isin(batch.indices.cpu().numpy(), stored_rows(num_images)))
    return Batch(batch.indices[chosen], batch.features[chosen.to(batch.features.device)])
