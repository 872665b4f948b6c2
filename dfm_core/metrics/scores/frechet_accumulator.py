"""The Fréchet distance of a stream of features: memory for D^2 numbers, however many samples come."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Batch, Score, Sums
from dfm_core.metrics.scores.frechet import frechet
from dfm_core.metrics.scores.moments import GaussianLike, Moments


@dataclass(frozen=True)
class FrechetAccumulator(Sums):
    """`Moments` that stay on the device until they are asked for. Frames of a video count as samples (frame-FID)."""

    count: int
    total: Tensor
    """Sum of the features, [D] float64."""
    outer: Tensor
    """Sum of the outer products, [D, D] float64."""

    @classmethod
    def empty(cls, width: int, device: torch.device | str = "cpu") -> FrechetAccumulator:
        total = torch.zeros(width, dtype=torch.float64, device=device)
        return cls(0, total, torch.zeros(width, width, dtype=torch.float64, device=device))

    def update(self, batch: Batch) -> FrechetAccumulator:
        x = batch.rows.to(self.total)
        return FrechetAccumulator(self.count + len(x), self.total + x.sum(dim=0), torch.addmm(self.outer, x.T, x))

    @property
    def moments(self) -> Moments:
        """The same in the host's memory."""
        return Moments(self.count, self.total.cpu().numpy(), self.outer.cpu().numpy())

    def compute(self, reference: GaussianLike, /) -> dict[str, Score]:
        """Args: reference: `Moments`, or published statistics. Raises: ValueError with fewer than two samples."""
        if self.count < 2:
            raise ValueError(f"a covariance needs two samples, got {self.count}")
        return {"frechet_distance": frechet(self.moments, reference)}
