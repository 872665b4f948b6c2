"""Matrices of a decomposition as tensors, made once for each device: a copy in every step would make the host wait."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=256)
def constant(
    make: Callable[..., np.ndarray], arguments: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return make(*arguments) as a tensor that nobody writes to."""
    return torch.as_tensor(make(*arguments), dtype=dtype, device=device)
