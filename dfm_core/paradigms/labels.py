"""Class dropout, shared by all paradigms (numerics 3.3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dfm_core.seeding import uniform


def drop_labels(labels: Tensor, indices: Sequence[int], seed: int, probability: float, null_class: int) -> Tensor:
    """Replaces a share of the labels, [B], by the null class."""
    dropped = uniform(seed, "class_dropout", indices).to(labels.device) < probability
    return torch.where(dropped, null_class, labels)
