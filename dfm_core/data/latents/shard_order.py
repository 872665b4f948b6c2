"""An order of samples that reads few shards at a time, for stores that are larger than the cache before them.

Every epoch draws the order of the shards anew, deals them into windows of a few shards, and shuffles the samples
inside each window. It is a pure function of (seed, global sample index), as the order of `dataset_rows` is, which is
what remains when one window holds all shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from dfm_core.data.sample_order import dataset_rows
from dfm_core.seeding import permutation


@dataclass(frozen=True)
class ShardOrder:
    """Order of samples by global sample index."""

    seed: int
    shard_samples: tuple[int, ...]
    """Samples in each shard, [K]."""
    window_shards: int
    """Shards that are mixed with each other; part of what a training's result depends on."""

    def __post_init__(self) -> None:
        if self.window_shards < 1 or sum(self.shard_samples) < 1:
            raise ValueError(
                f"a window of {self.window_shards} shards, of {sum(self.shard_samples)} samples: both >= 1"
            )

    @property
    def num_samples(self) -> int:
        return sum(self.shard_samples)

    @property
    def is_full_shuffle(self) -> bool:
        return self.window_shards >= len(self.shard_samples)

    def rows(self, indices: Sequence[int]) -> np.ndarray:
        """Args: indices: global sample indices, [B]. Returns: rows in 0..num_samples - 1, [B] int64."""
        if self.is_full_shuffle:
            return dataset_rows(self.seed, indices, self.num_samples)
        out = np.empty(len(indices), np.int64)
        for place, index in enumerate(indices):
            epoch, position = divmod(index, self.num_samples)
            windows = _epoch(self, epoch)
            window = int(np.searchsorted(windows.ends, position, side="right"))
            out[place] = _window_rows(self, epoch, window)[position - windows.starts[window]]
        return out

    def shards_from(self, index: int) -> Iterator[tuple[int, int]]:
        """(windows to go, shard), in the order of need, without end: first the whole window that `index` is in."""
        epoch, position = divmod(index, self.num_samples)
        window = int(np.searchsorted(_epoch(self, epoch).ends, position, side="right"))
        ahead = 0
        while True:
            windows = _epoch(self, epoch)
            for shards in windows.shards[window:]:
                yield from ((ahead, shard) for shard in shards)
                ahead += 1
            epoch, window = epoch + 1, 0


@dataclass(frozen=True)
class _Windows:
    """The windows of one epoch."""

    shards: tuple[tuple[int, ...], ...]
    starts: np.ndarray
    ends: np.ndarray


@lru_cache(maxsize=16)
def _epoch(order: ShardOrder, epoch: int) -> _Windows:
    if order.is_full_shuffle:  # samples of the next epoch come from all shards as well
        shards = [tuple(range(len(order.shard_samples)))]
    else:
        drawn = permutation(order.seed, "shard_order", epoch, len(order.shard_samples)).tolist()
        shards = [tuple(drawn[at : at + order.window_shards]) for at in range(0, len(drawn), order.window_shards)]
    sizes = [sum(order.shard_samples[shard] for shard in window) for window in shards]
    ends = np.cumsum(sizes)
    return _Windows(tuple(shards), ends - sizes, ends)


@lru_cache(maxsize=16)
def _window_rows(order: ShardOrder, epoch: int, window: int) -> np.ndarray:
    starts = np.cumsum((0, *order.shard_samples))
    windows = _epoch(order, epoch)
    held = [np.arange(starts[shard], starts[shard + 1]) for shard in windows.shards[window]]
    rows = np.concatenate(held)
    # A stream item for each window of each epoch: no two share a draw.
    drawn = permutation(order.seed, "window_order", epoch * len(order.shard_samples) + window, len(rows))
    shuffled: np.ndarray = rows[drawn]
    return shuffled
