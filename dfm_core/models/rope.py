"""Rotary position embedding over a grid of tokens (numerics 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rope_rotation(positions: Tensor, axis_widths: Sequence[int]) -> Tensor:
    """cos and sin of every rotation: omega_j = 10000^(-2j / d_a), angle = position * omega_j.

    Args: positions: coordinates, [N, A]. axis_widths: even width d_a of each axis, sum = head width.
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

    Args: x: queries or keys, [..., head width]. rotation: from `rope_rotation`, broadcastable to x's pairs.
    Returns: same shape and dtype as x.
    """
    pairs = x.float().reshape(*x.shape[:-1], x.shape[-1] // 2, 2)
    if torch.compiler.is_compiling():  # the compiler fuses real numbers, not complex ones
        (a, b), (cos, sin) = pairs.unbind(-1), rotation.unbind(-1)
        turned = torch.stack([a * cos - b * sin, a * sin + b * cos], dim=-1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs) * torch.view_as_complex(rotation))
    return turned.flatten(-2).to(x.dtype)


def axis_widths(head_width: int, num_axes: int) -> tuple[int, ...]:
    """Divide a head among axes: halves for (row, column); about thirds for (frame, row, column), 16 + 24 + 24 of 64."""
    if num_axes == 2:
        return (head_width // 2, head_width // 2)
    spatial = max(8 * round(head_width / 24), 2)
    if head_width - 2 * spatial < head_width // 4:
        spatial = 2 * (head_width // 6)
    return (head_width - 2 * spatial, spatial, spatial)


def grid_rotation(side: int, head_width: int, *, frames: int | None = None, finest: int | None = None) -> Tensor:
    """Rotations of a token grid in row-major order, frame after frame, [T * side * side, head_width / 2, 2].

    Args: frames: T of a video, which adds an axis; None for images. finest: side of the grid whose integer
        coordinates count; a coarser grid's tokens sit in the middle of the cells they cover.
    """
    cell = (finest or side) / side
    space = (torch.arange(side, dtype=torch.float64) + 0.5) * cell - 0.5
    axes = [space, space] if frames is None else [torch.arange(frames, dtype=torch.float64), space, space]
    positions = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(axes))
    return rope_rotation(positions, axis_widths(head_width, len(axes)))
