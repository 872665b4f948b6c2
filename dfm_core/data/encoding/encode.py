"""Files into latents: units of a dataset are decoded, cropped and encoded; failures are listed.

Threads read and decode ahead, so that an accelerator that encodes need not wait for them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice, repeat

import torch
from torch import Tensor

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.data.encoding.square_pixels import clip_square, image_square, with_mirror_images
from dfm_core.data.files.clips import ClipSpec
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.image_files import UnusableImageError
from dfm_core.data.files.raw_samples import DataFile, RawDataset, RawSample
from dfm_core.data.latents.read_ahead import ahead
from dfm_core.fitting_batches import AUTOENCODER_BYTES, FittingBatches


@dataclass(frozen=True)
class EncodingSpec:
    """Settings with which a file becomes a latent; part of the latents' identity."""

    side: int
    """Side in pixels."""
    frames: int | None = None
    """Frames of a clip; None: images."""
    stride: int = 1
    """Between the frames of a clip."""
    mirrored: bool = False
    """Each sample is followed by its horizontal flip."""


@dataclass(frozen=True)
class EncodedUnits:
    """The latents of some units, in the order of their samples."""

    tensors: Mapping[str, Tensor]
    """Tensors of `Posterior.stored`, each [n, ...], on the CPU; empty if no sample could be encoded."""
    labels: Tensor
    """[n] int64; with flips each label occurs twice."""
    left_out: tuple[BadFile, ...]
    num_left_out: int
    """Samples; with flips each counts twice. Those lost with a file of many, and entries that are no samples, are
    not among them."""


def encode_units(
    dataset: RawDataset,
    units: Sequence[DataFile],
    autoencoder: Autoencoder,
    spec: EncodingSpec,
    *,
    batch_samples: int,
    device: torch.device,
    num_threads: int = 1,
) -> EncodedUnits:
    """Args: batch_samples: that are encoded at once, flips not counted; changes no latent but by rounding.
    num_threads: that decode; one more reads.

    Raises: what the dataset's files do; ValueError if the autoencoder does not take what `spec` says.
    """
    bad: list[BadFile] = []
    kept: dict[str, list[Tensor]] = {}
    labels: list[int] = []
    copies = 2 if spec.mirrored else 1
    fitting = FittingBatches(autoencoder.identity, AUTOENCODER_BYTES)
    with (
        closing(_squares(dataset, units, spec, bad, num_threads)) as squares,
        closing(ahead(lambda size: list(islice(squares, size)), repeat(batch_samples), depth=1)) as batches,
    ):
        for batch in batches:
            if not batch:
                break
            pixels = torch.stack([square for square, _ in batch])
            if spec.mirrored:
                pixels = with_mirror_images(pixels)
            for stored in fitting.map(partial(encoded_pixels, autoencoder), pixels.to(device)):
                for name, tensor in stored.items():
                    kept.setdefault(name, []).append(tensor)
            labels += [label for _, label in batch for _ in range(copies)]
    return EncodedUnits(
        tensors={name: torch.cat(parts) for name, parts in kept.items()},
        labels=torch.tensor(labels, dtype=torch.int64),
        left_out=tuple(bad),
        num_left_out=copies * sum(one.is_sample and not one.holds_many for one in bad),
    )


@torch.no_grad()
def encoded_pixels(autoencoder: Autoencoder, pixels: Tensor) -> dict[str, Tensor]:
    """Return what is stored of 8-bit pixels, on the CPU."""
    stored = autoencoder.encode(pixels.float() / 127.5 - 1.0).stored()
    return {name: tensor.cpu() for name, tensor in stored.items()}


def _squares(
    dataset: RawDataset, units: Sequence[DataFile], spec: EncodingSpec, bad: list[BadFile], num_threads: int
) -> Generator[tuple[Tensor, int], None, None]:
    """Yield pixels and class of each sample that can be used; the others are added to `bad`."""
    samples = (sample for unit in units for sample in dataset.samples(unit))
    with closing(ahead(lambda sample: _square(sample, spec), samples, 2 * num_threads, num_threads)) as squares:
        for square in squares:
            if isinstance(square, BadFile):
                bad.append(square)
            else:
                yield square


def _square(sample: RawSample | BadFile, spec: EncodingSpec) -> tuple[Tensor, int] | BadFile:
    """Return pixels and class, or why there are none."""
    if isinstance(sample, BadFile):
        return sample
    try:
        if spec.frames is None:
            return image_square(sample.content, spec.side), sample.label
        return clip_square(sample.content, ClipSpec(spec.frames, spec.side, spec.stride)), sample.label
    except UnusableImageError as error:
        return BadFile(sample.name, error.fault, error.reason)
