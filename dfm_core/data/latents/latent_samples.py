"""A store of latents as training data: each latent is drawn anew from its stored posterior."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from dfm_core.autoencoders.base import draw
from dfm_core.data.latents.latent_dataset import LatentBatch, LatentDataset
from dfm_core.data.latents.prefetch import Prefetch, prepared_batches
from dfm_core.data.latents.shard_order import ShardOrder

STATISTICS_SAMPLES = 16_384
"""The first of the store, whose order mixes the classes: all of a large one would be read before the first step."""
_CHUNK = 256
_STATISTICS_SEED = 0
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

        def drawn(batch: LatentBatch, indices: range) -> tuple[Tensor, Tensor]:
            return draw(batch.tensors, seed, indices), batch.labels

        # Ahead of the training, since drawing takes much longer than reading: a millisecond for a latent of FLUX.
        return prepared_batches(self.store, order, wanted, self.prefetch, drawn)

    def chunks(self) -> Iterator[Tensor]:
        count = min(len(self.store), STATISTICS_SAMPLES)
        for begin in range(0, count, _CHUNK):
            rows = range(begin, min(begin + _CHUNK, count))
            yield draw(self.store.read(rows).tensors, _STATISTICS_SEED, rows)
