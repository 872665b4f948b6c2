"""Stores of latents, one for each shape, as training data: every step has images of one shape."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
from torch import Tensor

from dfm_core.autoencoders.base import draw
from dfm_core.data.captions.bucket_order import BucketGroup, BucketOrder
from dfm_core.data.captions.buckets import Bucket
from dfm_core.data.latents.latent_dataset import LatentDataset
from dfm_core.data.latents.latent_samples import STATISTICS_SAMPLES, STATISTICS_SEED
from dfm_core.data.latents.prefetch import Prefetch, ShardsAhead, check_room
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.data.latents.shard_order import ShardOrder

_CHUNK = 64


@dataclass(frozen=True)
class BucketStore:
    """The latents of one shape."""

    side: int
    bucket: Bucket
    store: LatentDataset


@dataclass(frozen=True)
class BucketedLatents:
    """`TrainingData`. A batch of a step is [B, C, h, w] with the step's own h and w, and numbers of captions."""

    stores: tuple[BucketStore, ...]
    shares: Mapping[int, float]
    """Share of the steps by side."""
    batch_size: int
    """Samples of a step, of all workers together: it tells which step a global sample index belongs to."""
    window_shards: int
    prefetch: Prefetch = field(default_factory=Prefetch)

    def batches(self, seed: int, wanted: Iterable[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """Raises: ValueError if a range reaches over the end of its step, or the cache is too small; as
        `LatentDataset.read`."""
        groups = [BucketGroup(one.side, one.bucket, len(one.store)) for one in self.stores]
        order = BucketOrder(seed, groups, self.shares)
        rows = [ShardOrder(seed, one.store.shard_samples, self.window_shards) for one in self.stores]
        for one, own in zip(self.stores, rows, strict=True):
            check_room(one.store, own, self.prefetch)
        return self._read(seed, order, rows, wanted)

    def _read(
        self, seed: int, order: BucketOrder, rows: Sequence[ShardOrder], wanted: Iterable[range]
    ) -> Generator[tuple[Tensor, Tensor], None, None]:
        with ExitStack() as stack:
            shards = [
                stack.enter_context(closing(ShardsAhead(one.store, own, self.prefetch)))
                for one, own in zip(self.stores, rows, strict=True)
            ]
            lock = Lock()  # `ShardsAhead` is one thread's at a time

            def read(item: tuple[range, int, range]) -> tuple[Tensor, Tensor]:
                indices, group, own = item
                store, places = self.stores[group].store, rows[group].rows(own)
                with lock:
                    shards[group].reached(own.start)
                    shards[group].wait_for(np.unique(store.shards_of(places)).tolist())
                batch = store.read(places)
                return draw(batch.tensors, seed, indices), batch.labels

            threads = self.prefetch.draw_threads
            depth = max(self.prefetch.batches, threads)
            placed = (self._placed(order, indices) for indices in wanted)
            yield from stack.enter_context(closing(ahead(read, placed, depth, threads)))

    def _placed(self, order: BucketOrder, indices: range) -> tuple[range, int, range]:
        """Return global sample indices, the shape that they read, and their indices in its own order."""
        step, first = divmod(indices.start, self.batch_size)
        if first + len(indices) > self.batch_size:
            raise ValueError(
                f"samples {indices.start} to {indices.stop - 1} belong to two steps of {self.batch_size}, which may "
                "have two shapes"
            )
        place = order.place(step)
        begin = place.earlier * self.batch_size + first
        return indices, place.group, range(begin, begin + len(indices))

    def chunks(self) -> Iterator[Tensor]:
        total = sum(len(one.store) for one in self.stores)
        for one in self.stores:
            count = -(-len(one.store) * min(total, STATISTICS_SAMPLES) // total)
            for begin in range(0, count, _CHUNK):
                rows = range(begin, min(begin + _CHUNK, count))
                yield draw(one.store.read(rows).tensors, STATISTICS_SEED, rows)
