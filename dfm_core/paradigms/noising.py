"""Clean scales into noisy ones, the same way in every paradigm (numerics 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dfm_core.flow.path import interpolate
from dfm_core.seeding import normal


@dataclass(frozen=True)
class Noised:
    """A batch on its way from noise to data."""

    noises: list[Tensor]
    """X_0 of every scale, independent standard normal, [B, ...]."""
    states: list[Tensor]
    """X_t of every scale, same shapes."""


def add_noise(scales: Sequence[Tensor], t: Tensor, seed: int, indices: Sequence[int]) -> Noised:
    """Return points on the straight paths.

    Args: scales: X_1, scale s is [B, ...]. t: [B, S] in [0, 1]. indices: global sample index of each row.
    """
    noises = [normal(seed, f"noise/{s}", indices, tuple(x.shape[1:])).to(x.device) for s, x in enumerate(scales)]
    states = [interpolate(noise, x, t[:, s]) for s, (noise, x) in enumerate(zip(noises, scales, strict=True))]
    return Noised(noises, states)
