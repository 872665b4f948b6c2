"""The contract of the networks that a training fits; `registry` names them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.choices import Precision
from dfm_core.models.initialization import Whole, as_they_are
from dfm_core.models.text_tables import TextTable

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention of queries, keys and values, [B, heads, N, D] each."""


class VelocityNetwork(nn.Module, ABC):
    """Predicts the velocity of every scale from their noisy states: a `VelocityPredictor` with weights to train."""

    null_class: int
    """Label that stands for none."""
    scale_shapes: tuple[tuple[int, ...], ...]
    """Shape of each scale of one sample, [S]: (C, h, w), or (C, T, r, r)."""
    reads_text: bool = False
    """Labels are numbers of captions, whose encodings `use_text` has to give."""

    @abstractmethod
    def forward(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]:
        """Return velocities of all scales; those that the active stage does not predict mean nothing.

        Args: scales: noisy scales, scale s is [B, *scale_shapes[s]]. t: [B, S] in [0, 1]. mask: [B, S], 1 for active
            scales. labels: [B] int64. stage_counts: samples of each active stage, [S]; None: the mask is read back
            where they are needed, and an accelerator is waited for.
        Returns: as scales, float32.
        """

    @abstractmethod
    def use_activation_checkpointing(self) -> None:
        """Compute the blocks' activations anew in the backward pass: less memory, more time, the same numbers."""

    @property
    @abstractmethod
    def has_one_graph(self) -> bool:
        """True if compiled blocks see one kind of batch, of which no mixtures would be compiled one by one."""

    @abstractmethod
    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """`torch.compile` on every block, in place: names of weights stay, equal blocks share one compilation, which
        serves batches of all sizes."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The blocks whose activations are computed anew one at a time."""

    @abstractmethod
    def use_attention(self, attend: Attend) -> None:
        """Attend by another function in all blocks."""

    @abstractmethod
    def reset_parameters(
        self, generator: torch.Generator, whole: Whole = as_they_are, given: Collection[str] = ()
    ) -> None:
        """Set initial weights.

        Args: whole: makes weights that are dealt out over workers whole while they are set. given: names of weights
            that a pretrained network gives; they need not be set.
        """

    @abstractmethod
    def sized(self, height: int, width: int) -> SizedNetwork:
        """Return the same network for data of another size, in positions of a latent.

        Raises: ValueError if it was made for one size only."""

    def use_text(self, table: TextTable) -> None:
        """Read captions' encodings from a table; networks of classes have no use for one."""
        raise ValueError(f"{type(self).__name__} reads classes, not captions, and no {type(table).__name__}")

    def starting_names(self, available: Iterable[str]) -> Mapping[str, str]:
        """Return the tensor of a pretrained network that each weight starts as, of those available; weights left out
        start as `reset_parameters` sets them. Names are those of its files, or of a snapshot of another such network.

        Raises: ValueError naming what is missing."""
        raise ValueError(f"{type(self).__name__} starts from no pretrained network (it was given {len([*available])})")


def mixed_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the autocast of a network's forward pass; the meta device, on which models are only weighed, knows
    none."""
    is_meta = device.type == "meta"
    mixed = precision == "bf16" and not is_meta
    return torch.autocast("cpu" if is_meta else device.type, dtype=torch.bfloat16, enabled=mixed)


class SizedNetwork:
    """A network for data of one size, see `VelocityNetwork.sized`: a `VelocityPredictor` with the same weights."""

    def __init__(self, network: VelocityNetwork, scale_shapes: tuple[tuple[int, ...], ...]) -> None:
        self._network, self.null_class, self.scale_shapes = network, network.null_class, scale_shapes

    def __call__(
        self,
        scales: Sequence[Tensor],
        t: Tensor,
        mask: Tensor,
        labels: Tensor,
        stage_counts: tuple[int, ...] | None = None,
    ) -> list[Tensor]:
        velocities: list[Tensor] = self._network(scales, t, mask, labels, stage_counts)
        return velocities


def scale_shapes(
    config: ExperimentConfig, shape: DataShape, size: tuple[int, int] | None = None
) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each scale of one sample, coarsest first: (C, h, w), or (C, T, r, r) for videos.

    Args: size: height and width of the data; None: the square of the config's last resolution.
    """
    side = config.decomposition.resolutions[-1]
    channels, sizes = (
        config.decomposition.channels(shape.channels),
        config.decomposition.scale_sizes(*size or (side, side)),
    )
    frames = () if shape.frames is None else (shape.frames,)
    return tuple((count, *frames, *own) for count, own in zip(channels, sizes, strict=True))
