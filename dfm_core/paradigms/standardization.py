"""Divisors of scales before noising (numerics: `data.standardize`), and the statistics behind them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dfm_core.config import ExperimentConfig
from dfm_core.data.training_data import TrainingData
from dfm_core.decompositions import Decomposition


def scale_divisors(config: ExperimentConfig, scale_std: Sequence[float]) -> tuple[float, ...]:
    """Divisor of each scale, [S]: ones unless the data is standardised, then its standard deviation on the training
    data. Pyramidal Flow carries one level over into the next, so all its levels have the divisor of the finest."""
    stages = config.num_stages
    assert len(scale_std) == stages, f"{len(scale_std)} standard deviations for {stages} scales"
    if not config.data.standardize:
        return (1.0,) * stages
    if config.paradigm == "pyramidal_flow":
        return (scale_std[-1],) * stages
    return tuple(scale_std)


def measure_scale_std(decomposition: Decomposition, dataset: TrainingData) -> tuple[float, ...]:
    """Standard deviation of each scale over all training images, one scalar per scale (numerics A15), [S]; of a store
    of latents over its first samples.

    Accumulated in float64 in a fixed order: every worker computes the same number.
    """
    moments = torch.zeros(len(decomposition.resolutions), 3, dtype=torch.float64)  # count, sum, sum of squares
    for images in dataset.chunks():
        for stage, scale in enumerate(decomposition.analyze(images.double())):
            moments[stage] += torch.stack([torch.tensor(scale.numel()).double(), scale.sum(), scale.square().sum()])
    mean = moments[:, 1] / moments[:, 0]
    return tuple((moments[:, 2] / moments[:, 0] - mean**2).sqrt().tolist())
