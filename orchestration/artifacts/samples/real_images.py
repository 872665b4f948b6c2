"""Real images or videos as 8-bit pixels, by index: embedded ones, or those that an `encode` task stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.autoencoders.base import MEAN
from dfm_core.config import DataConfig
from dfm_core.data.image_dataset import load_dataset, to_pixels
from dfm_core.data.latents.shard_cache import ShardCache
from orchestration.artifacts.samples.captioned_images import open_captioned_images
from orchestration.artifacts.samples.latents import open_latents
from orchestration.data.identity import pixels_digest
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store


@dataclass(frozen=True)
class RealSamples:
    """A split of a dataset."""

    count: int
    read: Callable[[range], tuple[Tensor, Tensor]]
    """Pixels, [B, C, H, W] or [B, C, T, H, W] uint8, and labels, [B] int64, of a range of samples."""
    borders: tuple[int, ...] = ()
    """Indices over which no range may reach: other shapes begin."""


def open_real(data: DataConfig, split: str, store: Store, cache: ShardCache) -> RealSamples:
    """Open a split of a dataset, "train" or "reference"; of the user's files only the reference is kept as pixels.

    Raises: FileNotFoundError, DamagedLatentsError if the pixels of the user's files are not there.
    """
    digest = pixels_digest(data)
    if not digest:
        known = load_dataset(data.dataset, split)
        return RealSamples(
            len(known), lambda rows: (known.pixels[rows.start : rows.stop], known.labels[rows.start : rows.stop])
        )
    assert split == "reference", "of the user's files only the reference is kept as pixels"
    if data.sides:
        images = open_captioned_images(data, store, cache)
        return RealSamples(len(images), images.read, images.borders)
    pixels = open_latents(store, TaskPaths(digest).latents, cache)

    def read(rows: range) -> tuple[Tensor, Tensor]:
        batch = pixels.read(rows)
        return to_pixels(batch.tensors[MEAN].to(torch.float32)), batch.labels

    return RealSamples(len(pixels), read)
