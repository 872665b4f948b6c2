"""Captioned test images as 8-bit pixels, by index: those of one shape after those of another."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

import torch
from torch import Tensor

from dfm_core.autoencoders.base import MEAN
from dfm_core.config import DataConfig
from dfm_core.data.captions.bucketed_latents import BucketStore
from dfm_core.data.captions.buckets import Bucket
from dfm_core.data.image_dataset import to_pixels
from dfm_core.data.latents.latent_dataset import LatentBatch
from dfm_core.data.latents.shard_cache import ShardCache
from orchestration.artifacts.samples.captioned_latents import open_captioned
from orchestration.data.identity import pixels_digest
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store


class CaptionedImages:
    """The test images of captioned files."""

    def __init__(self, stores: tuple[BucketStore, ...]) -> None:
        self._stores = stores
        self._ends = tuple(accumulate(len(one.store) for one in stores))

    def __len__(self) -> int:
        return self._ends[-1]

    @property
    def borders(self) -> tuple[int, ...]:
        """Indices at which another shape begins."""
        return self._ends[:-1]

    def bucket(self, index: int) -> Bucket:
        """Return the shape of an image."""
        return self._stores[bisect_right(self._ends, index)].bucket

    def labels(self, indices: range) -> Tensor:
        """Return the numbers of the images' captions, [B] int64; no border may lie between them."""
        return self._batch(indices).labels

    def read(self, indices: range) -> tuple[Tensor, Tensor]:
        """Return pixels, [B, 3, H, W] uint8, and numbers of captions; no border may lie between them."""
        batch = self._batch(indices)
        return to_pixels(batch.tensors[MEAN].to(torch.float32)), batch.labels

    def _batch(self, indices: range) -> LatentBatch:
        number = bisect_right(self._ends, indices.start)
        first = self._ends[number] - len(self._stores[number].store)
        assert indices.stop <= self._ends[number], f"images {indices.start} to {indices.stop - 1} have two shapes"
        return self._stores[number].store.read(range(indices.start - first, indices.stop - first))


def open_captioned_images(data: DataConfig, store: Store, cache: ShardCache) -> CaptionedImages:
    """Open the test images of a data section.

    Raises: FileNotFoundError, DamagedLatentsError if they are not there.
    """
    return CaptionedImages(open_captioned(store, TaskPaths(pixels_digest(data)).latents, cache))
