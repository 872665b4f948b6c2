"""The straight path from noise to data (DFM, Eq. 3; numerics 1)."""

from __future__ import annotations

from torch import Tensor


def expand_like(t: Tensor, x: Tensor) -> Tensor:
    """t: [B] -> [B, 1, ..., 1] with as many axes as x: [B, ...]."""
    if t.shape != x.shape[:1]:
        raise ValueError(f"timesteps must be one per sample: got {list(t.shape)} for a batch of {x.shape[0]}")
    return t.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype)


def interpolate(noise: Tensor, data: Tensor, t: Tensor) -> Tensor:
    """Return the point on the straight path from noise to data (DFM, Eq. 3).

    Args: noise: standard normal, [B, ...]. data: clean scale, same shape. t: timesteps in [0, 1], [B]; 0 is noise.
    Returns: t * data + (1 - t) * noise, [B, ...].
    Raises: ValueError if t is not [B].
    """
    t = expand_like(t, data)
    return t * data + (1 - t) * noise


def velocity(noise: Tensor, data: Tensor) -> Tensor:
    """d/dt of the path: data - noise, [B, ...] (numerics 1)."""
    return data - noise
