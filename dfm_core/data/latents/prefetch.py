"""The batches of a training from a store of latents, read before they are needed.

Batch content depends on (seed, global sample index) alone: not on the number of workers, on the moment of a resume, or
on what the cache holds.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from dfm_core.data.latents.latent_dataset import LatentBatch, LatentDataset
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.data.latents.shard_order import ShardOrder


@dataclass(frozen=True)
class Prefetch:
    """Extent of reading ahead; changes no number."""

    batches: int = 2
    windows: int = 1
    """Windows of shards after the one that is read from."""
    downloads: int = 4
    """Downloads at the same time, for each process."""
    draw_threads: int = 1
    """Threads that draw latents from their posteriors."""


def check_room(dataset: LatentDataset, order: ShardOrder, prefetch: Prefetch) -> None:
    """Raises: ValueError if the cache cannot hold what the order reads from at once, and ahead of it."""
    shards, room = dataset.manifest.shards, dataset.cache.max_bytes
    if dataset.is_in_place:
        return
    if order.is_full_shuffle:
        needed, what = dataset.manifest.num_bytes, f"all {len(shards)} shards, which are shuffled as a whole,"
    else:
        windows = 1 + prefetch.windows
        held = min(len(shards), windows * order.window_shards)
        needed = held * max(shard.num_bytes for shard in shards)
        what = f"{windows} windows of {order.window_shards} shards"
    if needed > room:
        raise ValueError(
            f"a cache of {room} bytes is too small: {what} need {needed}; give the cache more room or the order a "
            "smaller window"
        )


def latent_batches(
    dataset: LatentDataset, order: ShardOrder, batches: Iterable[range], prefetch: Prefetch
) -> Generator[LatentBatch, None, None]:
    """The samples of each range of global sample indices, in their order. To resume is to begin with a later range.

    Raises: ValueError as `check_room`; at the batch that needs it, what `LatentDataset.read` does.
    """
    if order.shard_samples != dataset.shard_samples:
        raise ValueError("the order was made for another store: its shards hold other numbers of samples")
    check_room(dataset, order, prefetch)

    def prepared() -> Generator[LatentBatch, None, None]:
        with (
            closing(ShardsAhead(dataset, order, prefetch)) as shards,
            ThreadPoolExecutor(1, thread_name_prefix="copying") as helper,
        ):

            def read(indices: range) -> LatentBatch:
                rows = order.rows(indices)
                shards.reached(indices.start)
                shards.wait_for(np.unique(dataset.shards_of(rows)).tolist())
                return dataset.read(rows, helper)

            yield from ahead(read, batches, prefetch.batches)

    return prepared()


class ShardsAhead:
    """Fetches, or verifies in place, the shards of the windows to come."""

    def __init__(self, dataset: LatentDataset, order: ShardOrder, prefetch: Prefetch) -> None:
        self._dataset, self._order, self._windows = dataset, order, prefetch.windows
        self._pool = ThreadPoolExecutor(prefetch.downloads, thread_name_prefix="shards-ahead")
        self._asked: dict[int, Future[None]] = {}

    def reached(self, index: int) -> None:
        """Asks for what comes from here on, once for each shard as long as it is in sight."""
        in_sight: dict[int, Future[None]] = {}
        for to_go, shard in self._order.shards_from(index):
            if to_go > self._windows or len(in_sight) == len(self._order.shard_samples):
                break
            if shard not in in_sight:
                in_sight[shard] = self._asked.get(shard) or self._pool.submit(self._dataset.fetch, shard)
        for shard in in_sight.keys() - self._asked.keys():  # after what is waited for
            self._pool.submit(self._dataset.map_pages, shard)
        self._asked = in_sight

    def wait_for(self, shards: Sequence[int]) -> None:
        """Raises what fetching one of them raised: a retry here would only double the waiting time."""
        for shard in shards:
            if shard in self._asked:  # a batch may reach further than what is in sight
                self._asked[shard].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
