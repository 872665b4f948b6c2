"""All features of a stream, for the metrics that compare samples pair by pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch, name_some

_CHUNK_ELEMENTS = 2**22
"""Elements of a matrix of pairs that exist at once: 32 MiB."""


@dataclass(frozen=True)
class FeatureStore:
    """Grows with the number of samples: made only for metrics that were asked for and need it."""

    indices: tuple[Tensor, ...]
    features: tuple[Tensor, ...]
    """One tensor per batch, in the type in which it came."""
    device: torch.device | str = "cpu"

    @classmethod
    def empty(cls, device: torch.device | str = "cpu") -> FeatureStore:
        return cls((), (), device)

    @property
    def count(self) -> int:
        return sum(len(indices) for indices in self.indices)

    def update(self, batch: Batch) -> FeatureStore:
        moved = (batch.indices.to(self.device), batch.features.to(self.device))
        return FeatureStore((*self.indices, moved[0]), (*self.features, moved[1]), self.device)

    def merge(self, other: FeatureStore) -> FeatureStore:
        return FeatureStore(self.indices + other.indices, self.features + other.features, self.device)

    def to(self, device: torch.device | str) -> FeatureStore:
        indices, features = (tuple(part.to(device) for part in parts) for parts in (self.indices, self.features))
        return FeatureStore(indices, features, device)

    def ordered(self) -> Tensor:
        """Return features by sample index, [N, ...]: the same however the samples came.

        Raises: ValueError if none came, or if some came twice.
        """
        if self.count == 0:
            raise ValueError("no features were kept")
        indices, order = torch.cat(self.indices).sort()
        twice = torch.unique_consecutive(indices[1:][indices[1:] == indices[:-1]])
        if len(twice):
            raise ValueError(f"{len(twice)} samples came twice: {name_some(twice)}")
        return torch.cat(self.features)[order]


@dataclass(frozen=True)
class StoringAccumulator:
    """An accumulator that stores all features; a subclass adds its settings and computes the scores."""

    store: FeatureStore

    @property
    def count(self) -> int:
        return self.store.count

    def update(self, batch: Batch) -> Self:
        return replace(self, store=self.store.update(batch))

    def merge(self, other: Self) -> Self:
        return replace(self, store=self.store.merge(other.store))

    def to(self, device: torch.device | str) -> Self:
        return replace(self, store=self.store.to(device))


def row_blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    """Cut the rows of a matrix of pairs into blocks that can exist at once."""
    size = max(1, _CHUNK_ELEMENTS // num_columns)
    return (slice(begin, begin + size) for begin in range(0, num_rows, size))
