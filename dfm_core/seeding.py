"""Every random draw, keyed by (seed, stream, global sample index) and never by rank.

A batch can therefore be split over any number of workers, or a run be cut and resumed anywhere, without changing one
number. The generator is Philox, a counter-based one: its key is a hash of (seed, stream), its counter the sample
index, so the generator of any sample is made in O(1). Draws are made on the CPU and moved: a GPU and a CPU see the
same noise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def sample_generator(seed: int, stream: str, index: int) -> np.random.Generator:
    """Return the generator of one sample of one stream.

    Args: seed: the run's seed. stream: what is drawn, e.g. "noise". index: global sample index, >= 0.
    Returns: a generator that no other (seed, stream, index) shares.
    """
    assert index >= 0, f"sample index {index} of stream {stream!r} is negative"
    digest = hashlib.sha256(f"{seed}/{stream}".encode()).digest()
    key = np.frombuffer(digest[:16], dtype=np.uint64)
    # The counter's low word belongs to the draws inside a sample; the sample sits in the second word.
    return np.random.Generator(np.random.Philox(key=key, counter=[0, index, 0, 0]))


def normal(seed: int, stream: str, indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
    """Return standard normal noise, [B, *shape] float32; row i depends on (seed, stream, indices[i]) alone."""
    out = np.empty((len(indices), *shape), dtype=np.float32)
    for row, index in enumerate(indices):
        sample_generator(seed, stream, index).standard_normal(dtype=np.float32, out=out[row])
    return torch.from_numpy(out)


def normal_scalars(seed: int, stream: str, indices: Sequence[int], count: int) -> Tensor:
    """`count` standard normal scalars per sample in double precision, [B, count] float64."""
    rows = [sample_generator(seed, stream, index).standard_normal(count) for index in indices]
    return torch.from_numpy(np.stack(rows)) if rows else torch.empty(0, count, dtype=torch.float64)


def uniform(seed: int, stream: str, indices: Sequence[int]) -> Tensor:
    """Return one uniform number in [0, 1) per sample, [B] float64."""
    return torch.tensor([sample_generator(seed, stream, index).random() for index in indices], dtype=torch.float64)


def permutation(seed: int, stream: str, epoch: int, length: int) -> np.ndarray:
    """Return the order of `length` items in one epoch, [length] int64."""
    return sample_generator(seed, stream, epoch).permutation(length)
