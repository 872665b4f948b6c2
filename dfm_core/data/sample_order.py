"""The order of the training data: a pure function of (seed, global sample index)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from dfm_core.seeding import permutation


@lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    return permutation(seed, "data_order", epoch, num_images)


def dataset_rows(seed: int, indices: Sequence[int], num_images: int) -> np.ndarray:
    """Return the row that each global sample index reads: epoch index // N, shuffled anew every epoch.

    Args: indices: global sample indices, [B]. Returns: rows in 0..num_images - 1, [B] int64.
    """
    return np.array([_epoch_order(seed, i // num_images, num_images)[i % num_images] for i in indices], dtype=np.int64)
