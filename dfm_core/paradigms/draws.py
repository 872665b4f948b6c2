"""Random draws of a training batch, made on the host before the loss needs them.

They take up to 2 ms of a core a sample: made in the loss, they would keep an accelerator waiting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfm_core.config import DecompositionConfig
from dfm_core.seeding import normal, uniform


@dataclass(frozen=True)
class Draws:
    """Draws that the loss of a batch takes as input; they depend on (seed, global sample index) alone."""

    noises: tuple[Tensor, ...]
    """Standard normal noise of each scale, or of the finest alone where one noise serves all, [B, ...] float32."""
    t: Tensor
    """Position of each scale on its path, [B, S] float32 in [0, 1]."""
    mask: Tensor
    """1 for scales up to the active one, else 0, [B, S] float32."""
    dropped: Tensor
    """True where the class is left out, [B] bool."""
    stage_counts: tuple[int, ...]
    """Number of samples whose active stage is each, [S]: known here, so that no device is asked for it."""

    def to(self, device: torch.device) -> Draws:
        """Copy to a device, without waiting for it where the memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Draws:
        """Copy into memory from which a GPU copies by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, move: Callable[[Tensor], Tensor]) -> Draws:
        noises = tuple(move(noise) for noise in self.noises)
        return Draws(noises, move(self.t), move(self.mask), move(self.dropped), self.stage_counts)


def stage_counts(mask: Tensor) -> tuple[int, ...]:
    """Return the number of samples of each active stage from a mask on the host, [B, S]."""
    counts = torch.bincount(mask.sum(dim=1).long() - 1, minlength=mask.shape[1])
    return tuple(counts.tolist())


def scale_noises(
    decomposition: DecompositionConfig, seed: int, indices: Sequence[int], sample_shape: tuple[int, ...]
) -> tuple[Tensor, ...]:
    """Return independent standard normal noise for each scale of samples of a shape, (C, (T,) H, W)."""
    channels, *frames = sample_shape[:-2]
    sizes = zip(decomposition.channels(channels), decomposition.scale_sizes(*sample_shape[-2:]), strict=True)
    return tuple(normal(seed, f"noise/{s}", indices, (count, *frames, *size)) for s, (count, size) in enumerate(sizes))


def dropped_labels(indices: Sequence[int], seed: int, probability: float) -> Tensor:
    """Return the samples whose class is left out, [B] bool, each with a probability (numerics 3.3)."""
    return uniform(seed, "class_dropout", indices) < probability
