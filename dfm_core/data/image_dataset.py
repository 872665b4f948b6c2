"""Datasets of images or clips in memory, and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfm_core.catalog.datasets import DATASETS
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.data.moving_images import moving_clips
from dfm_core.data.pixels import check_pixels
from dfm_core.data.sample_order import dataset_rows

_STATISTICS_CHUNK_IMAGES = 1024


@dataclass(frozen=True)
class ImageDataset:
    """Images or clips as 8-bit values with their classes."""

    pixels: Tensor
    """[N, C, H, W] or [N, C, T, H, W] uint8."""
    labels: Tensor
    """Class indices, [N] int64."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    def images(self, rows: Sequence[int] | np.ndarray | slice) -> Tensor:
        """Return selected images as the model sees them, [B, C, (T,) H, W] float32 in [-1, 1]."""
        chosen = self.pixels[rows if isinstance(rows, slice) else torch.as_tensor(np.asarray(rows))]
        return chosen.float() / 127.5 - 1.0

    def batches(self, seed: int, wanted: Iterable[range]) -> Iterator[tuple[Tensor, Tensor]]:
        """`TrainingData`: every epoch is a permutation of all."""

        def batch(indices: range) -> tuple[Tensor, Tensor]:
            rows = dataset_rows(seed, indices, len(self))
            return self.images(rows), self.labels[torch.from_numpy(rows)]

        return ahead(batch, wanted, depth=1)

    def chunks(self) -> Iterator[Tensor]:
        """`TrainingData`: all images, in their order."""
        for start in range(0, len(self), _STATISTICS_CHUNK_IMAGES):
            yield self.images(slice(start, start + _STATISTICS_CHUNK_IMAGES))


def to_pixels(images: Tensor) -> Tensor:
    """Convert the model's range to 8 bits: round(127.5 (x + 1)) clamped to 0..255, inverts `ImageDataset.images`.

    Args: images: [B, C, H, W] or [B, C, T, H, W] float in [-1, 1]. Returns: uint8, same shape.
    Raises: ValueError with the samples that hold NaN or values far out of range (`check_pixels`).
    """
    check_pixels(images)
    return ((images + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def load_dataset(name: str, split: str) -> ImageDataset:
    """Return the "train" or the "reference" part of a dataset in `DATASETS`.

    Images smaller than its resolution are padded with black; those that are to move become clips (`moving_images`).
    """
    card = DATASETS[name]
    assert card.path is not None, f"{name} is not part of the repository; preflight should have said so"
    with np.load(card.path) as archive:
        pixels, labels = archive[f"{split}_images"], archive[f"{split}_labels"]
    if card.motion is not None and card.frames is not None:
        count = card.num_train_images if split == "train" else card.num_reference_images
        pixels, labels = pixels[:count], labels[:count]
        pixels = moving_clips(pixels, card.motion, card.frames, card.resolution, split)
    else:
        pixels = _padded(pixels, card.resolution)
    return ImageDataset(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels.astype(np.int64)))


def _padded(pixels: np.ndarray, side: int) -> np.ndarray:
    """[N, H, H] -> [N, side, side], black around."""
    pad = side - pixels.shape[1]
    before = pad // 2
    return np.pad(pixels, ((0, 0), (before, pad - before), (before, pad - before)))
