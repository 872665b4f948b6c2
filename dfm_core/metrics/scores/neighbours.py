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
        values = neighbour_scores(samples, reference, self.num_neighbours, torch.ones(len(samples), 1))
        return {name: Score(float(value[0])) for name, value in values.items()}


def neighbour_scores(samples: Tensor, reference: Tensor, num_neighbours: int, counts: Tensor) -> dict[str, Tensor]:
    """Return the four scores for every column of counts, of the samples that are there in it.

    The ball around a feature reaches to its k-th nearest neighbour in its own set, border included. Precision: share
    of samples in some ball of the reference. Density: how many such balls hold a sample, over k. Recall: share of
    reference features in some sample's ball. Coverage: share of reference features whose ball holds some sample.

    Args: samples: [N, D]. reference: [M, D]. counts: 1 where a sample is there, else 0, [N, R].
    Returns: [R] float64 each. Raises: ValueError if a set has no k-th neighbour.
    """
    there = counts.to(samples.device) > 0
    num_samples = there.sum(dim=0)
    if min(int(num_samples.min()), len(reference)) <= num_neighbours:
        raise ValueError(
            f"{num_neighbours} nearest neighbours need more samples and reference features, "
            f"got {int(num_samples.min())} and {len(reference)}"
        )
    y = reference.to(samples.device).double()
    centre = y.mean(dim=0)
    x, y = samples.double() - centre, y - centre
    weights = there.to(x)
    sample_radii, reference_radii = radii_among(x, num_neighbours, there), squared_radii(y, num_neighbours)
    balls_holding = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    recalled = torch.zeros(weights.shape[1], dtype=x.dtype, device=x.device)
    covered = torch.zeros_like(recalled)
    for rows in row_blocks(len(y), len(x)):
        distances = squared_distances(y[rows], x)
        in_reference_ball = (distances <= reference_radii[rows, None]).to(x)
        balls_holding += in_reference_ball.sum(dim=0)
        covered += (in_reference_ball @ weights > 0).sum(dim=0)
        for column, radii in enumerate(sample_radii.T):
            recalled[column] += (distances <= radii).any(dim=1).sum()
    return {
        "precision": (balls_holding > 0).to(x) @ weights / num_samples,
        "recall": recalled / len(y),
        "density": balls_holding @ weights / (num_neighbours * num_samples),
        "coverage": covered / len(y),
    }


def radii_among(points: Tensor, num_neighbours: int, there: Tensor) -> Tensor:
    """Squared distance of every point to its k-th nearest other point among those that are there; -1 if it is not.

    Args: points: [N, D]. there: [N, R] bool, more than k of each column. Returns: [N, R].
    """
    fewest = int(there.sum(dim=0).min())
    # Nearly always the k nearest of those that are there are among so many nearest of all.
    usual = min(len(points) - 1, 8 * num_neighbours * len(points) // fewest)
    return torch.cat(
        [_radii_of_rows(points, rows, num_neighbours, there, usual) for rows in row_blocks(len(points), len(points))]
    )


def _radii_of_rows(points: Tensor, rows: slice, num_neighbours: int, there: Tensor, nearest: int) -> Tensor:
    distances, neighbours = _others(points, rows).topk(nearest, dim=1, largest=False)
    columns = []
    for present in there.T:
        seen = present[neighbours].cumsum(dim=1)
        if int(seen[:, -1].min()) < num_neighbours:
            return _radii_of_rows(points, rows, num_neighbours, there, len(points) - 1)
        kth = (seen >= num_neighbours).int().argmax(dim=1, keepdim=True)
        columns.append(torch.where(present[rows], distances.gather(1, kth).flatten(), -1.0))
    return torch.stack(columns, dim=1)


def squared_radii(points: Tensor, num_neighbours: int) -> Tensor:
    """Squared distance of every point to its k-th nearest other point, [N]."""
    blocks = row_blocks(len(points), len(points))
    return torch.cat([_others(points, rows).kthvalue(num_neighbours, dim=1).values for rows in blocks])


def _others(points: Tensor, rows: slice) -> Tensor:
    """Squared distances of some points to all; to themselves infinite, [B, N]."""
    distances = squared_distances(points[rows], points)
    own = torch.arange(len(distances), device=points.device)
    distances[own, own + rows.start] = torch.inf
    return distances


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """[N, D] and [M, D] -> [N, M], not below 0; by way of one matrix product."""
    squares = (x * x).sum(dim=1, keepdim=True) + (y * y).sum(dim=1)
    return (squares - 2 * x @ y.T).clamp(min=0)
