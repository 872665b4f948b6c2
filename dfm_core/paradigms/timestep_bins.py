"""Losses by time: sums over samples whose timestep is in one of equal bins of [0, 1]."""

from __future__ import annotations

import torch
from torch import Tensor

NUM_BINS = 8


def binned(losses: Tensor, counted: Tensor, t: Tensor) -> Tensor:
    """Return sums by stage and bin; no gradient, and no random draw.

    Args: losses: of each sample and stage, [B, S]. counted: 1 where a stage counts, else 0, [B, S]. t: timesteps in
        [0, 1], 0 is noise, [B, S]; 1 is in the last bin.
    Returns: sums of the losses that count, and how many do, [2, S, 8] float32.
    """
    bins = (t.detach() * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    # One-hot sums, since scattered additions on an accelerator have no fixed order.
    inside = (bins[..., None] == torch.arange(NUM_BINS, device=t.device)).float() * counted[..., None]
    return torch.stack([(inside * losses.detach().float()[..., None]).sum(dim=0), inside.sum(dim=0)])
