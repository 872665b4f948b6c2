"""Captioned images into latents of several shapes: each image at every side that it reaches without being enlarged.

Threads read, decode and resize ahead; batches of one shape are encoded together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.data.captions.buckets import Bucket, bucket_of, buckets_of
from dfm_core.data.encoding.encode import encoded_pixels
from dfm_core.data.encoding.square_pixels import image_pixels
from dfm_core.data.files.centre_crop import cover_crop
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import UnusableImageError
from dfm_core.data.files.raw_samples import DataFile, RawDataset, RawSample
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.fitting_batches import AUTOENCODER_BYTES, FittingBatches


@dataclass(frozen=True, order=True)
class Shape:
    """A shape, and the side that it belongs to."""

    side: int
    bucket: Bucket

    def __str__(self) -> str:
        return f"{self.side}-{self.bucket}"


@dataclass(frozen=True)
class ShapedLatents:
    """Latents of one shape, in the order of their samples."""

    tensors: Mapping[str, Tensor]
    """Tensors of `Posterior.stored`, each [n, ...], on the CPU."""
    labels: Tensor
    """Numbers of captions, [n] int64."""


@dataclass(frozen=True)
class CaptionedUnits:
    """All that was made of some units."""

    shapes: Mapping[Shape, ShapedLatents]
    captions: tuple[str, ...]
    """Captions of the images that were encoded, each once, in the order of their first image."""
    num_encoded: int
    """Images that have at least one shape."""
    left_out: tuple[BadFile, ...]


@dataclass
class _Collected:
    """Samples of one shape, and those of them that wait for a batch to be full."""

    waiting: list[Tensor] = field(default_factory=list)
    kept: dict[str, list[Tensor]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)


def encode_captioned(
    dataset: RawDataset,
    units: Sequence[DataFile],
    autoencoder: Autoencoder,
    sides: Sequence[int],
    token_pixels: int,
    *,
    batch_samples: int,
    device: torch.device,
    num_threads: int = 1,
) -> CaptionedUnits:
    """Args: sides: of squares, in pixels. token_pixels: side of a model's token. batch_samples: that are encoded at
    once; changes no latent but by rounding. num_threads: that decode; one more reads.

    Raises: what the dataset's files do; ValueError if the autoencoder does not take a shape.
    """
    shapes = {side: buckets_of(side, token_pixels) for side in sides}
    bad: list[BadFile] = []
    captions: dict[str, None] = {}
    collected: dict[Shape, _Collected] = defaultdict(_Collected)
    fitting = FittingBatches(autoencoder.identity, AUTOENCODER_BYTES)
    encode = partial(encoded_pixels, autoencoder)

    def flush(own: _Collected) -> None:
        for stored in fitting.map(encode, torch.stack(own.waiting).to(device)):
            for name, tensor in stored.items():
                own.kept.setdefault(name, []).append(tensor)
        own.waiting.clear()

    num_encoded = 0
    with closing(_shaped(dataset, units, shapes, bad, num_threads)) as samples:
        for sample, crops in samples:
            num_encoded += 1
            assert sample.caption is not None, f"{sample.name} has a class and no caption"
            captions[sample.caption] = None
            for shape, pixels in crops.items():
                own = collected[shape]
                own.waiting.append(pixels)
                own.labels.append(sample.label)
                if len(own.waiting) == batch_samples:
                    flush(own)
    for own in collected.values():
        if own.waiting:
            flush(own)
    made = {
        shape: ShapedLatents(
            {name: torch.cat(parts) for name, parts in own.kept.items()}, torch.tensor(own.labels, dtype=torch.int64)
        )
        for shape, own in sorted(collected.items())
    }
    return CaptionedUnits(made, tuple(captions), num_encoded, tuple(bad))


def _shaped(
    dataset: RawDataset,
    units: Sequence[DataFile],
    shapes: Mapping[int, Sequence[Bucket]],
    bad: list[BadFile],
    num_threads: int,
) -> Generator[tuple[RawSample, dict[Shape, Tensor]], None, None]:
    """Yield each sample that can be used with its pixels in every shape that it has; the others are added to `bad`."""
    samples = (sample for unit in units for sample in dataset.samples(unit))
    crop = partial(_crops, shapes=shapes)
    with closing(ahead(crop, samples, 2 * num_threads, num_threads)) as cropped:
        for one in cropped:
            if isinstance(one, BadFile):
                bad.append(one)
            else:
                yield one


def _crops(
    sample: RawSample | BadFile, shapes: Mapping[int, Sequence[Bucket]]
) -> tuple[RawSample, dict[Shape, Tensor]] | BadFile:
    if isinstance(sample, BadFile):
        return sample
    try:
        pixels = image_pixels(sample.content)
    except UnusableImageError as error:
        return BadFile(sample.name, error.fault, error.reason)
    height, width = pixels.shape[:2]
    found = {Shape(side, bucket) for side, own in shapes.items() if (bucket := bucket_of(height, width, own))}
    if not found:
        smallest = min(min(bucket) for own in shapes.values() for bucket in own)
        reason = f"is {width} x {height} pixels (width x height), and would have to be enlarged for every shape"
        return BadFile(sample.name, "too small", f"{reason}; sides of {smallest} are the smallest")
    return sample, {
        shape: torch.from_numpy(cover_crop(pixels, *shape.bucket).copy()).permute(2, 0, 1).contiguous()
        for shape in sorted(found)
    }
