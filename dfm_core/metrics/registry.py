"""The computation of each statistic of `catalog.metrics.STATISTICS`: accumulators and resampling.

All empty accumulators are created from the same sizes. A new one is a file, a card there and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dfm_core.catalog.metrics import STATISTICS, StatisticName
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.scores.accumulator import Accumulator
from dfm_core.metrics.scores.frechet import weighted_frechet_distances
from dfm_core.metrics.scores.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.scores.inception_score import InceptionScoreAccumulator, equal_splits, weighted_inception_scores
from dfm_core.metrics.scores.kernel_distance import KernelDistanceAccumulator, weighted_mmd2
from dfm_core.metrics.scores.mean_score import MeanScoreAccumulator
from dfm_core.metrics.scores.neighbours import NeighbourAccumulator, weighted_neighbour_scores


@dataclass(frozen=True)
class Sizes:
    """Sizes and settings that accumulators need before the first sample."""

    width: int
    """Dimension of the features, or number of classes of the logits."""
    num_samples: int
    """Samples to expect in all."""
    evaluation: EvaluationConfig
    device: torch.device | str = "cpu"

    @property
    def splits(self) -> tuple[int, ...]:
        """Bounds of the inception score's splits."""
        return equal_splits(self.num_samples, self.evaluation.inception_splits)


ACCUMULATORS: dict[StatisticName, Callable[[Sizes], Accumulator[Any]]] = {
    "frechet_distance": lambda sizes: FrechetAccumulator.empty(sizes.width, sizes.device),
    "inception_score": lambda sizes: InceptionScoreAccumulator.empty(sizes.splits, sizes.width, sizes.device),
    "kernel_distance": lambda sizes: KernelDistanceAccumulator.empty(
        sizes.evaluation.kernel_subsets, sizes.evaluation.kernel_subset_size, sizes.evaluation.seed, sizes.device
    ),
    "neighbours": lambda sizes: NeighbourAccumulator.empty(sizes.evaluation.num_neighbours, sizes.device),
    "clip_similarity": lambda sizes: MeanScoreAccumulator.empty("clip_similarity", sizes.device),
    "label_accuracy": lambda sizes: MeanScoreAccumulator.empty("label_accuracy", sizes.device),
}
STORES_FEATURES = frozenset(name for name, card in STATISTICS.items() if card.reads == "features")
"""Accumulators whose memory grows with the number of samples."""

Resampler = Callable[[Tensor, Any, Sizes, Tensor], dict[str, Tensor]]
"""(features [N, D] by index, reference as of `compute`, sizes, counts [N, R]) -> scores by name, [R] each."""
RESAMPLERS: dict[StatisticName, Resampler] = {
    "frechet_distance": lambda features, reference, _, counts: {
        "frechet_distance": weighted_frechet_distances(features, reference, counts)
    },
    "inception_score": lambda features, _, sizes, counts: {
        "inception_score": weighted_inception_scores(features, sizes.splits, counts)
    },
    "kernel_distance": lambda features, reference, _, counts: {
        "kernel_distance": weighted_mmd2(features, reference, counts)
    },
    "neighbours": lambda features, reference, sizes, counts: weighted_neighbour_scores(
        features, reference, sizes.evaluation.num_neighbours, counts
    ),
}
"""Resamplers of the bootstrap; statistics without one have a standard error in closed form."""
assert set(ACCUMULATORS) == set(STATISTICS), "every statistic has an accumulator"
