"""Sums over samples and positions of each channel, which add up over shards to mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.data.latents.manifest import ChannelStatistics


@dataclass(frozen=True)
class ChannelMoments:
    """Moments of one tensor; in double precision."""

    count: int
    """Values of each channel."""
    total: tuple[float, ...]
    """Sum of each channel's values, [C]."""
    square_total: tuple[float, ...]
    """Sum of their squares, [C]."""

    @classmethod
    def of(cls, tensor: Tensor) -> ChannelMoments:
        """Args: tensor: [n, C, ...]."""
        values = tensor.double().transpose(0, 1).flatten(1)
        return cls(values.shape[1], tuple(values.sum(1).tolist()), tuple(values.square().sum(1).tolist()))

    def plus(self, other: ChannelMoments) -> ChannelMoments:
        def added(one: tuple[float, ...], two: tuple[float, ...]) -> tuple[float, ...]:
            return tuple(a + b for a, b in zip(one, two, strict=True))

        return ChannelMoments(
            self.count + other.count, added(self.total, other.total), added(self.square_total, other.square_total)
        )

    def statistics(self) -> ChannelStatistics:
        mean = torch.tensor(self.total, dtype=torch.float64) / self.count
        variance = torch.tensor(self.square_total, dtype=torch.float64) / self.count - mean.square()
        return ChannelStatistics(tuple(mean.tolist()), tuple(variance.clamp(min=0).sqrt().tolist()))
