"""Losses of scales that may be masked, as sums, also by time: over samples whose timestep is in one of equal bins."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dfm_core.paradigms.base import LossResult

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


def masked_loss(predicted: Sequence[Tensor], targets: Sequence[Tensor], counted: Tensor, t: Tensor) -> LossResult:
    """Return the mean over samples of the squared errors of the scales that count.

    Args: predicted, targets: velocity of each scale, [B, ...]. counted, t: as of `binned`.
    """
    pairs = zip(predicted, targets, strict=True)
    errors = torch.stack([(guess - target).square().flatten(1).mean(dim=1) for guess, target in pairs], dim=1)  # [B, S]
    masked = counted * errors
    by_time = binned(errors, counted, t)
    return LossResult(masked.sum(dim=1).mean(), masked.detach().sum(dim=0), counted.sum(dim=0), by_time)
