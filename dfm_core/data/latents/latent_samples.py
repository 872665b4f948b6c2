"""A store of latents as training data: each latent is drawn anew from its stored posterior."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import tee

from torch import Tensor

from dfm_core.autoencoders.base import draw
from dfm_core.data.latents.latent_dataset import LatentBatch, LatentDataset
from dfm_core.data.latents.prefetch import Prefetch, latent_batches
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.data.latents.shard_order import ShardOrder

STATISTICS_SAMPLES = 16_384
"""The first of the store, whose order mixes the classes: all of a large one would be read before the first step."""
_CHUNK = 256
STATISTICS_SEED = 0
"""Seed of the draws for statistics, the same for all trainings: they belong to the data, as those of images do."""


@dataclass(frozen=True)
class LatentSamples:
    """`TrainingData`."""

    store: LatentDataset
    window_shards: int
    prefetch: Prefetch = field(default_factory=Prefetch)

    def batches(self, seed: int, wanted: Iterable[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """Raises: ValueError if the cache is too small; as `LatentDataset.read`."""
        order = ShardOrder(seed, self.store.shard_samples, self.window_shards)
        indices, to_read = tee(wanted)
        return self._drawn(seed, indices, latent_batches(self.store, order, to_read, self.prefetch))

    def _drawn(
        self, seed: int, wanted: Iterable[range], batches: Generator[LatentBatch, None, None]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches drawn by threads of their own: a draw takes a millisecond for a latent of FLUX, reading a
        hundredth of that."""

        def drawn(item: tuple[range, LatentBatch]) -> tuple[Tensor, Tensor]:
            indices, batch = item
            return draw(batch.tensors, seed, indices), batch.labels

        threads = self.prefetch.draw_threads
        with closing(batches), closing(ahead(drawn, zip(wanted, batches, strict=True), threads, threads)) as results:
            yield from results

    def chunks(self) -> Iterator[Tensor]:
        count = min(len(self.store), STATISTICS_SAMPLES)
        for begin in range(0, count, _CHUNK):
            rows = range(begin, min(begin + _CHUNK, count))
            yield draw(self.store.read(rows).tensors, STATISTICS_SEED, rows)
