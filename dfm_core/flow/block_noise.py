"""Square blocks of 2 x 2: their mean, their repetition, and noise that is correlated inside them (numerics 8.1)."""

from __future__ import annotations

from torch import Tensor


def block_mean(x: Tensor) -> Tensor:
    """Return the mean over blocks: [..., 2 h, 2 w] -> [..., h, w]."""
    *lead, height, width = x.shape
    return x.reshape(*lead, height // 2, 2, width // 2, 2).mean(dim=(-3, -1))


def repeat_blocks(x: Tensor) -> Tensor:
    """Nearest neighbour: [..., h, w] -> [..., 2 h, 2 w]."""
    return x.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)


def block_noise(white: Tensor, gamma: float) -> Tensor:
    """Noise whose covariance inside each block is (1 + gamma) I - gamma 1 1^T, from white noise of the same shape.

    That matrix has the eigenvalue 1 - 3 gamma for the block's mean and 1 + gamma for the rest, so scaling the two parts
    is exact for every gamma in (0, 1/3], at 1/3 too, where the matrix is singular and has no Cholesky factor.
    """
    mean = repeat_blocks(block_mean(white))
    noise: Tensor = (1.0 + gamma) ** 0.5 * (white - mean) + max(1.0 - 3.0 * gamma, 0.0) ** 0.5 * mean
    return noise
