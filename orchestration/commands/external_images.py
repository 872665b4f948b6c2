"""Images from outside a sweep: a folder, or an .npz as ADM writes it, to be measured as a sweep's samples are.

Videos come as an .npz only: the losses of a codec would be measured with them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dfm_core.catalog.datasets import DatasetCard
from dfm_core.data.files.class_list import spelling_of
from dfm_core.data.files.folder_report import UnusableFolderError
from dfm_core.data.files.image_archive import read_image_archive
from dfm_core.data.files.image_files import Channels
from dfm_core.data.files.image_folder import open_image_folder
from orchestration.common.errors import Problem, UserError


@dataclass(frozen=True)
class ExternalImages:
    """Images of the size and channels of a dataset, or videos of its length too."""

    count: int
    pixels: Callable[[range], Tensor]
    """Pixels of a range, [B, C, (T,) H, W] uint8."""
    labels: Tensor | None
    """Positions in the dataset's class names, [N] int64; None if the classes are not known."""
    about: str
    """Description for people."""
    cropped: bool = False
    """Images of any size were resized and cropped as those that networks are trained on."""


def open_images(path: Path, card: DatasetCard, max_bad_share: float, *, crop: bool = False) -> ExternalImages:
    """Open images, each of which is checked before the first is measured.

    Args: card: that of the dataset to compare with. max_bad_share: share of a folder's files that may be left out.
        crop: images of any size are resized and cropped as those that networks are trained on.
    Raises: UserError with every file that cannot be used, by name.
    """
    if path.is_file() and path.suffix != ".npz":
        raise UserError.of(str(path), "is neither a folder of images nor an .npz")
    if path.is_dir() and card.frames is not None:
        layout = f"[N, {card.frames}, {card.resolution}, {card.resolution}, {card.channels}]"
        message = f"is a folder, and the dataset holds videos: give an .npz with arr_0 of shape {layout}, uint8"
        raise UserError.of(str(path), message)
    if crop and path.suffix == ".npz":
        raise UserError.of("--crop", f"{path} holds pixels of one size; only a folder's images are cropped")
    try:
        images = _archive(path) if path.suffix == ".npz" else _folder(path, card, max_bad_share, crop)
    except UnusableFolderError as error:
        hint = "fix or remove them; --allow-bad SHARE lets some be left out"
        if any(bad.fault == "of another size" for bad in error.report.bad):
            hint += f"; --crop makes images of any size {card.resolution} x {card.resolution}, as in training"
        raise UserError.of(str(path), f"{str(error.report).removeprefix(f'{path}: ')}\n  {hint}") from None
    except ValueError as error:
        raise UserError([Problem(str(path), str(error).removeprefix(f"{path}: "))]) from None
    shape = tuple(images.pixels(range(1)).shape[1:])
    expected = card.shape.of_scale(card.channels, card.resolution)
    if shape != expected:
        sides = "channels, height and width" if card.frames is None else "channels, frames, height and width"
        message = f"{sides} are {shape}, the dataset's {card.kind} have {expected}: make them alike"
        raise UserError.of(str(path), message)
    if images.labels is not None:
        least, most = int(images.labels.min()), int(images.labels.max())
        if least < 0 or most >= card.num_classes:
            message = f"labels go from {least} to {most}, those of the dataset from 0 to {card.num_classes - 1}"
            raise UserError.of(str(path), message)
    return images


def _archive(path: Path) -> ExternalImages:
    archive = read_image_archive(path)
    about = f"{path}: {len(archive.pixels)} {'images' if archive.pixels.ndim == 4 else 'videos'}"
    return ExternalImages(
        len(archive.pixels),
        lambda rows: archive.pixels[rows.start : rows.stop].contiguous(),
        archive.labels,
        about,
    )


def _folder(path: Path, card: DatasetCard, max_bad_share: float, crop: bool) -> ExternalImages:
    channels: Channels = 1 if card.channels == 1 else 3
    size = (card.resolution, card.resolution)
    folder = open_image_folder(path, channels=channels, size=size, cropped=crop, max_bad_share=max_bad_share)
    labels = None
    names = list(map(spelling_of(card.class_names), folder.class_names))
    if folder.labels is not None and set(names) <= set(card.class_names):
        numbers = {name: number for number, name in enumerate(card.class_names)}
        labels = torch.tensor([numbers[names[label]] for label in folder.labels])
    about = str(folder.report)
    if crop:
        about += f"\n  each resized and cropped at its centre to {size[1]} x {size[0]}, as images are in training"
    if folder.labels is not None and labels is None:
        about += "\n  its sub-folders are not named as the dataset's classes; labels are not known"
    return ExternalImages(len(folder), lambda rows: folder.pixels(rows), labels, about, crop)
