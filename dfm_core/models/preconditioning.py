"""EDM's preconditioning carried to flow matching, per scale (numerics 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config.choices import Preconditioning
from dfm_core.flow.jumps import PyramidStage


@dataclass(frozen=True)
class PreconditioningFactors:
    """v = c_skip X_t + c_out F(c_in X_t, t); each factor has the shape of t."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def preconditioning_factors(t: Tensor, data_std: Tensor, kind: Preconditioning) -> PreconditioningFactors:
    """Return the factors that give the network unit-variance inputs and targets.

    With k = t^2 d^2 + (1-t)^2: c_in = 1/sqrt(k), c_skip = (t d^2 - (1-t))/k, c_out = d/sqrt(k). `no_skip` keeps c_in,
    sets c_skip = 0 and c_out = sqrt(1 + d^2), the standard deviation of the velocity.

    Args: t: timesteps in [0, 1]. data_std: standard deviation d of the clean scale, broadcastable to t.
    """
    if kind == "none":
        one = torch.ones_like(t)
        return PreconditioningFactors(c_in=one, c_skip=torch.zeros_like(t), c_out=one)
    variance = data_std**2
    k = t**2 * variance + (1 - t) ** 2
    c_in = k.rsqrt()
    if kind == "no_skip":
        return PreconditioningFactors(c_in=c_in, c_skip=torch.zeros_like(t), c_out=(1 + variance).sqrt().expand_as(t))
    return PreconditioningFactors(c_in=c_in, c_skip=(t * variance - (1 - t)) / k, c_out=data_std * c_in)


def pyramid_ends(stages: Sequence[PyramidStage]) -> Tensor:
    """Shares of noise at the start and the end of every stage, and the network's timesteps there, [4, S] float32."""
    rows = [(stage.start_noise, stage.end_noise, stage.start_t, stage.end_t) for stage in stages]
    return torch.tensor(rows, dtype=torch.float32).T.contiguous()


def pyramidal_factors(t: Tensor, data_std: Tensor, stage_ends: Tensor, kind: Preconditioning) -> PreconditioningFactors:
    """Return the factors for Pyramidal Flow, whose inputs and targets mix two levels (numerics 8.3).

    With progress p, the state is z = N n + U up(coarser) + D level, where N = (1 - p) S + p e, U = (1 - p)(1 - S) and
    D = p (1 - e), and the target is v = dz/dp. The upsampled coarser level is
    a projection of the level, so their covariance is its own variance. As in EDM, c_in = 1 / std(z),
    c_skip = cov(v, z) / var(z), and c_out is the deviation that c_skip leaves of v.

    Args: t: timestep that the network is given, by stage, [B, S]. data_std: standard deviation of each level, [S].
        stage_ends: from `pyramid_ends`, [4, S].
    """
    one = torch.ones_like(t)
    if kind == "none":
        return PreconditioningFactors(c_in=one, c_skip=torch.zeros_like(t), c_out=one)
    start, end, start_t, end_t = stage_ends
    fine = data_std**2
    coarse = torch.cat([torch.zeros_like(fine[:1]), fine[:-1]])  # the first stage's start is noise alone
    p = ((t - start_t) / (end_t - start_t)).clamp(0.0, 1.0)
    noise, upsampled, level = (1 - p) * start + p * end, (1 - p) * (1 - start), p * (1 - end)
    d_noise, d_upsampled, d_level = end - start, -(1 - start), 1 - end
    var_z = noise**2 + level**2 * fine + (upsampled**2 + 2 * upsampled * level) * coarse
    var_v = d_noise**2 + d_level**2 * fine + (d_upsampled**2 + 2 * d_upsampled * d_level) * coarse
    covariance = (
        noise * d_noise
        + level * d_level * fine
        + (upsampled * d_upsampled + upsampled * d_level + level * d_upsampled) * coarse
    )
    c_in = var_z.rsqrt()
    if kind == "no_skip":
        return PreconditioningFactors(c_in=c_in, c_skip=torch.zeros_like(t), c_out=var_v.sqrt().expand_as(t))
    c_skip = covariance / var_z
    left = (var_v - covariance * c_skip).clamp_min(0.0)
    return PreconditioningFactors(c_in=c_in, c_skip=c_skip, c_out=left.sqrt())
