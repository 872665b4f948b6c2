"""Classifier-free guidance (numerics 1)."""

from __future__ import annotations

from torch import Tensor


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """v_uncond + w (v_cond - v_uncond), [B, ...]; guidance 1 is the conditional velocity."""
    return unconditional + guidance * (conditional - unconditional)
