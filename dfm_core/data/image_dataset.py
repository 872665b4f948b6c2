"""Datasets of images or clips in memory, and their statistics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfm_core.catalog.datasets import DATASETS, DataShape
from dfm_core.data.files.image_files import Channels
from dfm_core.data.files.image_folder import open_image_folder
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
    class_names: tuple[str, ...] = ()
    """Names of the classes, in the order of their indices; none if they have none."""

    def __len__(self) -> int:
        return self.labels.shape[0]

    @property
    def shape(self) -> DataShape:
        """Shape of the data, as a model needs it; without names there are as many classes as the highest label says."""
        frames = None if self.pixels.ndim == 4 else self.pixels.shape[2]
        return DataShape(self.pixels.shape[1], len(self.class_names) or int(self.labels.max()) + 1, frames)

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
    return ImageDataset(torch.from_numpy(pixels)[:, None], torch.from_numpy(labels.astype(np.int64)), card.class_names)


def load_image_folder(
    folder: Path | str, side: int, *, channels: Channels = 3, max_bad_share: float = 0.0
) -> ImageDataset:
    """Return the images of a folder with a sub-folder for each class, in memory, in the order of their names.

    Images of any size are resized and cropped to a square as those that a sweep trains on. A folder without sub-folders
    is one class without a name.

    Args: side: of the square, in pixels. channels: 3 repeats grey, 1 refuses colours. max_bad_share: of files that may
        be left out; 0: every one must be sound.
    Raises: ValueError that names every file that cannot be used; ValueError if there is no folder, or no image in it.
    """
    if side < 1:
        raise ValueError(f"side {side}: give the side of the images in pixels, 1 or more")
    images = open_image_folder(
        Path(folder), channels=channels, size=(side, side), cropped=True, max_bad_share=max_bad_share
    )
    labels = torch.zeros(len(images), dtype=torch.int64) if images.labels is None else torch.tensor(images.labels)
    return ImageDataset(images.pixels(range(len(images))), labels, images.class_names)


def _padded(pixels: np.ndarray, side: int) -> np.ndarray:
    """[N, H, H] -> [N, side, side], black around."""
    pad = side - pixels.shape[1]
    before = pad // 2
    return np.pad(pixels, ((0, 0), (before, pad - before), (before, pad - before)))
