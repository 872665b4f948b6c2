"""The input of a network in training: noisy scales (numerics 1), some classes left out (numerics 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dfm_core.flow.path import interpolate
from dfm_core.seeding import normal, uniform


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


def drop_labels(labels: Tensor, indices: Sequence[int], seed: int, probability: float, null_class: int) -> Tensor:
    """Replaces a share of the labels, [B], by the null class."""
    dropped = uniform(seed, "class_dropout", indices).to(labels.device) < probability
    return torch.where(dropped, null_class, labels)
