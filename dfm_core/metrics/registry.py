"""Accumulators by name, each made empty from the same sizes. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dfm_core.metrics.accumulator import Accumulator
from dfm_core.metrics.frechet_accumulator import FrechetAccumulator
from dfm_core.metrics.inception_score import InceptionScoreAccumulator, equal_splits
from dfm_core.metrics.kernel_distance import KernelDistanceAccumulator
from dfm_core.metrics.mean_score import MeanScoreAccumulator
from dfm_core.metrics.neighbours import NeighbourAccumulator


@dataclass(frozen=True)
class Sizes:
    """What accumulators have to know before the first sample."""

    width: int
    """Of the features, or number of classes of the logits."""
    num_samples: int
    """That will come in all."""
    device: torch.device | str = "cpu"
    num_splits: int = 10
    """Of the inception score."""
    num_subsets: int = 100
    """Of KID, each of `subset_size` samples."""
    subset_size: int = 1000
    num_neighbours: int = 5
    seed: int = 0


ACCUMULATORS: dict[str, Callable[[Sizes], Accumulator[Any]]] = {
    "frechet_distance": lambda sizes: FrechetAccumulator.empty(sizes.width, sizes.device),
    "inception_score": lambda sizes: InceptionScoreAccumulator.empty(
        equal_splits(sizes.num_samples, sizes.num_splits), sizes.width, sizes.device
    ),
    "kernel_distance": lambda sizes: KernelDistanceAccumulator.empty(
        sizes.num_subsets, sizes.subset_size, sizes.seed, sizes.device
    ),
    "neighbours": lambda sizes: NeighbourAccumulator.empty(sizes.num_neighbours, sizes.device),
    "clip_similarity": lambda sizes: MeanScoreAccumulator.empty("clip_similarity", sizes.device),
    "label_accuracy": lambda sizes: MeanScoreAccumulator.empty("label_accuracy", sizes.device),
}
KEEPS_FEATURES = frozenset({"kernel_distance", "neighbours"})
"""Accumulators whose memory grows with the number of samples."""
