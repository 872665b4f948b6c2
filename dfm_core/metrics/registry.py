"""The accumulators of the statistics of `catalog.metrics.STATISTICS`; `errors` has their errors.

All empty accumulators are created from the same sizes. A new one is a file, a card there and a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dfm_core.catalog.metrics import STATISTICS, StatisticName
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.scores.accumulator import Accumulator
from dfm_core.metrics.scores.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.scores.inception_score import InceptionScoreAccumulator, equal_splits
from dfm_core.metrics.scores.jackknife import Groups
from dfm_core.metrics.scores.kernel_distance import KernelDistanceAccumulator
from dfm_core.metrics.scores.mean_score import MeanScoreAccumulator
from dfm_core.metrics.scores.neighbours import NeighbourAccumulator


@dataclass(frozen=True)
class Sizes:
    """Sizes and settings that accumulators need before the first sample."""

    width: int
    """Dimension of the features, or number of classes of the logits."""
    num_samples: int
    """Samples to expect in all."""
    num_labels: int
    """Labels that come in turn, sample i having label i mod `num_labels`; 1: there are none such."""
    evaluation: EvaluationConfig
    device: torch.device | str = "cpu"

    @property
    def groups(self) -> Groups:
        """Groups of samples for errors; a mean has them at any setting, since it keeps no samples for them."""
        most = self.evaluation.bootstrap_replicates or EvaluationConfig.bootstrap_replicates
        return Groups.of(self.num_samples, most // 2, self.num_labels)  # singly, and in pairs

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
    "clip_similarity": lambda sizes: MeanScoreAccumulator.empty("clip_similarity", sizes.groups, sizes.device),
    "label_accuracy": lambda sizes: MeanScoreAccumulator.empty("label_accuracy", sizes.groups, sizes.device),
}
STORES_FEATURES = frozenset(name for name, card in STATISTICS.items() if card.reads == "features")
"""Accumulators whose memory grows with the number of samples."""

assert set(ACCUMULATORS) == set(STATISTICS), "every statistic has an accumulator"
