"""Clean scales into noisy ones, the same way in every paradigm (numerics 1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dfm_core.flow.path import interpolate
from dfm_core.seeding import normal


def add_noise(
    scales: Sequence[Tensor], t: Tensor, seed: int, indices: Sequence[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the noise and the point on the straight path from it of every scale.

    Args: scales: X_1, scale s is [B, ...]. t: [B, S] in [0, 1]. indices: global sample index of each row.
    Returns: X_0, independent standard normal, and X_t, of the scales' shapes.
    """
    noises = [normal(seed, f"noise/{s}", indices, tuple(x.shape[1:])).to(x.device) for s, x in enumerate(scales)]
    states = [interpolate(noise, x, t[:, s]) for s, (noise, x) in enumerate(zip(noises, scales, strict=True))]
    return noises, states
