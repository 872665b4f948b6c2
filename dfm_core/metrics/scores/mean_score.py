"""Metrics that are the mean of one number per sample: CLIPSIM and label accuracy (numerics 10.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch, Score, Sums

MeanScoreName = Literal["clip_similarity", "label_accuracy"]


@dataclass(frozen=True)
class MeanScoreAccumulator(Sums):
    """Count, sum and sum of squares of the samples' scores."""

    name: MeanScoreName
    count: int
    total: Tensor
    """float64 scalar, as is the next."""
    total_squares: Tensor

    @classmethod
    def empty(cls, name: MeanScoreName, device: torch.device | str = "cpu") -> MeanScoreAccumulator:
        zero = torch.zeros((), dtype=torch.float64, device=device)
        return cls(name, 0, zero, zero)

    def update(self, batch: Batch) -> MeanScoreAccumulator:
        scores = SAMPLE_SCORES[self.name](batch).to(self.total)
        return MeanScoreAccumulator(
            self.name, self.count + len(scores), self.total + scores.sum(), self.total_squares + (scores**2).sum()
        )

    def compute(self, _reference: None = None, /) -> dict[str, Score]:
        """Return the mean; its standard error is sqrt(variance / N), from two samples on. There is no reference set."""
        if self.count == 0:
            raise ValueError(f"{self.name}: no samples came")
        mean, error = float(self.total) / self.count, None
        if self.count > 1:
            variance = max(float(self.total_squares) - self.count * mean**2, 0.0) / (self.count - 1)
            error = (variance / self.count) ** 0.5
        return {self.name: Score(mean, standard_error=error)}


def cosines(batch: Batch) -> Tensor:
    """Cosine of the angle between image and text features of each sample, in [-1, 1], [B] float64; not times 100.

    A video, `features` [B, frames, D], has the mean over its frames, so that its frames don't count as independent.
    Raises: ValueError for features of length 0, whose direction is undefined.
    """
    assert batch.targets is not None, "CLIPSIM needs text features as targets"
    images, texts = (values / _lengths(values) for values in (batch.features.double(), batch.targets.double()))
    if images.dim() == 3:
        images = images.mean(dim=1)
    return (images * texts.to(images.device)).sum(dim=1)


def hits(batch: Batch) -> Tensor:
    """1 where the largest of a sample's scores per class, `features` [B, K], is that of its target, [B] float64."""
    assert batch.targets is not None, "label accuracy needs classes as targets"
    return (batch.features.argmax(dim=1) == batch.targets.to(batch.features.device)).double()


SAMPLE_SCORES: dict[MeanScoreName, Callable[[Batch], Tensor]] = {"clip_similarity": cosines, "label_accuracy": hits}


def _lengths(values: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    if bool((lengths == 0).any()):
        raise ValueError(f"{int((lengths == 0).sum())} feature vectors have length 0 and no direction")
    return lengths
