"""The protocol of the samples that a training reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from torch import Tensor


class TrainingData(Protocol):
    """Samples by global index; each depends on (seed, index) alone."""

    def batches(self, seed: int, wanted: Iterable[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """Samples as the model sees them, [B, C, (T,) H, W] float32, and classes, [B] int64, for each range of global
        sample indices. May read ahead; closing the iterator ends that."""

    def chunks(self) -> Iterator[Tensor]:
        """Yield the samples from which statistics are taken, some at a time, in an order of their own."""
