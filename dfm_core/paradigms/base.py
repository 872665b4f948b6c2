"""Values that a paradigm takes and gives; the contract itself is `sampling.Paradigm`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from dfm_core.paradigms.draws import Draws


class VelocityPredictor(Protocol):
    """The model as a paradigm calls it: a `VelocityModel`, experts, or a formula in a test."""

    null_class: int
    scale_shapes: tuple[tuple[int, ...], ...]

    def __call__(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]: ...


@dataclass(frozen=True)
class Batch:
    """Training images with their identities."""

    images: Tensor
    """[B, C, H, W] or [B, C, T, H, W] float32."""
    labels: Tensor
    """Class indices, [B] int64."""
    indices: Sequence[int]
    """Global sample index of each row: step * batch_size + position; it keys every random draw."""
    draws: Draws | None = None
    """`Paradigm.draw` of the batch, made ahead; None: the loss makes them."""

    def to(self, device: torch.device) -> Batch:
        """Copy to a device, without waiting for it where the memory is pinned."""
        images, labels = (tensor.to(device, non_blocking=True) for tensor in (self.images, self.labels))
        return replace(self, images=images, labels=labels, draws=self.draws and self.draws.to(device))

    def pinned(self) -> Batch:
        """Copy into memory from which a GPU copies by itself."""
        images, labels = self.images.pin_memory(), self.labels.pin_memory()
        return replace(self, images=images, labels=labels, draws=self.draws and self.draws.pinned())


@dataclass(frozen=True)
class LossResult:
    """Loss of a batch."""

    loss: Tensor
    """Mean over the batch of the per-sample losses, scalar."""
    stage_losses: Tensor
    """Sum over the batch of each scale's masked loss, [S], detached."""
    stage_counts: Tensor
    """Number of samples in which each scale was active, [S]."""
    timestep_sums: Tensor | None = None
    """Sums of `stage_losses`, and of `stage_counts`, by bins of the timestep, [2, S, bins], see `losses.binned`; None
    where a paradigm does not say."""


@dataclass(frozen=True)
class SampleResult:
    """Images, or videos, from noise."""

    images: Tensor
    """[B, C, H, W], or [B, C, T, H, W], float32 in the data's range."""
    num_evaluations: int
    """Network evaluations per image that is sampled alone; guidance counts twice."""


@dataclass(frozen=True)
class SampleProgress:
    """Progress of sampling, which a watcher receives after every solver step."""

    step: int
    """Steps done, 1..num_steps."""
    num_steps: int
    ends_stage: bool
    """The stage that was generated has reached its threshold, or the end: a good moment for a preview."""
    scales: Sequence[Tensor]
    """State of every scale as the model sees it, float64."""
    preview: Callable[[], Tensor]
    """The images that the scales generated so far would give if each jumped to its end, float32, at the side of the
    last of them."""


SampleWatcher = Callable[[SampleProgress], None]
