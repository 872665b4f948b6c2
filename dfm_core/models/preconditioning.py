"""EDM's preconditioning carried to flow matching, per scale (numerics 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import Preconditioning


@dataclass(frozen=True)
class PreconditioningFactors:
    """v = c_skip X_t + c_out F(c_in X_t, t); each factor has the shape of t."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


def preconditioning_factors(t: Tensor, data_std: Tensor, kind: Preconditioning) -> PreconditioningFactors:
    """The factors that give the network unit-variance inputs and targets.

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
