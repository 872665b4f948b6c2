"""The contract of a paradigm: how it trains and how it samples. Everything else is shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.models.velocity import VelocityModel


@dataclass(frozen=True)
class Batch:
    """Training images with their identities."""

    images: Tensor
    """[B, C, H, W] float32."""
    labels: Tensor
    """Class indices, [B] int64."""
    indices: Sequence[int]
    """Global sample index of each row: step * batch_size + position; it keys every random draw."""


@dataclass(frozen=True)
class LossResult:
    """Loss of a batch."""

    loss: Tensor
    """Mean over the batch of the per-sample losses, scalar."""
    stage_losses: Tensor
    """Sum over the batch of each scale's masked loss, [S], detached."""
    stage_counts: Tensor
    """Number of samples in which each scale was active, [S]."""


@dataclass(frozen=True)
class SampleResult:
    """Images from noise."""

    images: Tensor
    """[B, C, H, W] float32 in the data's range."""
    num_evaluations: int
    """Network evaluations per image; guidance counts twice."""


class Paradigm(Protocol):
    """A way to train and sample a velocity model."""

    def loss(self, model: VelocityModel, batch: Batch) -> LossResult:
        """The training loss; its random draws depend on (seed, global sample index) alone."""

    def sample(
        self, model: VelocityModel, labels: Tensor, indices: Sequence[int], seed: int, sampling: SamplingConfig
    ) -> SampleResult:
        """Images of the given classes.

        Args: labels: [B] int64. indices: global sample index of each image, which keys its noise. seed: of the noise.
        """
