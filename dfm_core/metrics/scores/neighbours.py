"""Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020); numerics 10.4."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Score
from dfm_core.metrics.scores.feature_store import FeatureStore, StoringAccumulator, row_blocks


@dataclass(frozen=True)
class NeighbourAccumulator(StoringAccumulator):
    """All features and the settings of the scores."""

    num_neighbours: int

    @classmethod
    def empty(cls, num_neighbours: int = 5, device: torch.device | str = "cpu") -> NeighbourAccumulator:
        return cls(FeatureStore.empty(device), num_neighbours)

    def compute(self, reference: Tensor, /) -> dict[str, Score]:
        """Args: reference: features, [M, D]."""
        samples = self.store.ordered().flatten(0, -2)
        ones = torch.ones(len(samples), 1)
        values = weighted_neighbour_scores(samples, reference, self.num_neighbours, ones)
        return {name: Score(float(value[0])) for name, value in values.items()}


def weighted_neighbour_scores(
    samples: Tensor, reference: Tensor, num_neighbours: int, counts: Tensor
) -> dict[str, Tensor]:
    """Return the four scores for every column of counts, also for `bootstrap.standard_errors`.

    The ball around a feature reaches to its k-th nearest neighbour in its own set, border included. Precision: share
    of samples in some ball of the reference. Density: how many such balls hold a sample, over k. Recall: share of
    reference features in some sample's ball. Coverage: share of reference features whose ball holds some sample.
    Counts weigh samples; radii stay those of the whole set, since a copy is no neighbour.

    Args: samples: [N, D]. reference: [M, D]. counts: how often each sample is there, [N, R].
    Returns: [R] float64 each. Raises: ValueError if a set has no k-th neighbour.
    """
    if min(len(samples), len(reference)) <= num_neighbours:
        raise ValueError(
            f"{num_neighbours} nearest neighbours need more samples and reference features, "
            f"got {len(samples)} and {len(reference)}"
        )
    y = reference.to(samples.device).double()
    centre = y.mean(dim=0)
    x, y = samples.double() - centre, y - centre
    weights = counts.to(x)
    sample_radii, reference_radii = (squared_radii(points, num_neighbours) for points in (x, y))
    present = (weights > 0).to(x)
    balls_holding = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    recalled = torch.zeros(weights.shape[1], dtype=x.dtype, device=x.device)
    covered = torch.zeros_like(recalled)
    for rows in row_blocks(len(y), len(x)):
        distances = squared_distances(y[rows], x)
        in_reference_ball = (distances <= reference_radii[rows, None]).to(x)
        in_sample_ball = (distances <= sample_radii).to(x)
        balls_holding += in_reference_ball.sum(dim=0)
        covered += (in_reference_ball @ present > 0).sum(dim=0)
        recalled += (in_sample_ball @ present > 0).sum(dim=0)
    num_samples = weights.sum(dim=0)
    return {
        "precision": (balls_holding > 0).to(x) @ weights / num_samples,
        "recall": recalled / len(y),
        "density": balls_holding @ weights / (num_neighbours * num_samples),
        "coverage": covered / len(y),
    }


def squared_radii(points: Tensor, num_neighbours: int) -> Tensor:
    """Squared distance of every point to its k-th nearest other point, [N]."""
    parts = []
    for rows in row_blocks(len(points), len(points)):
        distances = squared_distances(points[rows], points)
        own = torch.arange(len(distances), device=points.device)
        distances[own, own + rows.start] = -1.0  # below any other, and not above it by rounding
        parts.append(distances.kthvalue(num_neighbours + 1, dim=1).values)
    return torch.cat(parts)


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """[N, D] and [M, D] -> [N, M], not below 0; by way of one matrix product."""
    squares = (x * x).sum(dim=1, keepdim=True) + (y * y).sum(dim=1)
    return (squares - 2 * x @ y.T).clamp(min=0)
