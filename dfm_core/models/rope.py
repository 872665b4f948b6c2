"""Rotary position embedding over a grid of tokens (numerics 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rope_rotation(positions: Tensor, axis_widths: Sequence[int]) -> Tensor:
    """cos and sin of every rotation: omega_j = 10000^(-2j / d_a), angle = position * omega_j.

    Args: positions: integer coordinates, [N, A]. axis_widths: even width d_a of each axis, sum = head width.
    Returns: [N, sum(d_a) / 2, 2] float32, last axis (cos, sin).
    """
    angles = []
    for axis, width in enumerate(axis_widths):
        assert width % 2 == 0, f"axis width {width} must be even"
        omega = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
        angles.append(positions[:, axis, None].double() * omega)
    angle = torch.cat(angles, dim=-1)
    return torch.stack([angle.cos(), angle.sin()], dim=-1).float()


def apply_rope(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotates adjacent pairs of features: (a cos - b sin, a sin + b cos).

    Args: x: queries or keys, [B, heads, N, head width]. rotation: from `rope_rotation`.
    Returns: same shape and dtype as x.
    """
    cos, sin = rotation[..., 0], rotation[..., 1]
    a, b = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1).flatten(-2).to(x.dtype)


def grid_rotation(side: int, head_width: int) -> Tensor:
    """Rotations of a square grid in row-major order, half the head for each axis, [side * side, head_width / 2, 2]."""
    coordinates = torch.arange(side)
    positions = torch.stack(torch.meshgrid(coordinates, coordinates, indexing="ij"), dim=-1).reshape(-1, 2)
    return rope_rotation(positions, (head_width // 2, head_width // 2))
