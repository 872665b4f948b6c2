"""The input of a network in training: noisy scales (numerics 1), some classes left out (numerics 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dfm_core.flow.path import interpolate


def add_noise(scales: Sequence[Tensor], noises: Sequence[Tensor], t: Tensor) -> list[Tensor]:
    """Return the point on the straight path from the noise of every scale, X_t.

    Args: scales, noises: X_1 and X_0, scale s is [B, ...]. t: [B, S] in [0, 1].
    """
    pairs = zip(noises, scales, strict=True)
    return [interpolate(noise, x, t[:, s]) for s, (noise, x) in enumerate(pairs)]


def drop_labels(labels: Tensor, dropped: Tensor, null_class: int) -> Tensor:
    """Return labels, [B], with the null class where they are left out, [B] bool."""
    return torch.where(dropped, null_class, labels)
