"""The velocity model: masks, preconditioning and precision around the transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.model import MODEL_SIZES
from dfm_core.flow.jumps import pyramid_stages
from dfm_core.flow.path import expand_like
from dfm_core.models.dit import DiT
from dfm_core.models.preconditioning import (
    PreconditioningFactors,
    preconditioning_factors,
    pyramid_ends,
    pyramidal_factors,
)


class VelocityModel(nn.Module):
    """Predicts the velocity of every scale from their noisy states."""

    def __init__(self, config: ExperimentConfig, shape: DataShape, *, data_std: Sequence[float]) -> None:
        """data_std: standard deviation of each clean scale as the model sees it, [S]; ones if standardised."""
        super().__init__()
        assert len(data_std) == config.num_stages, f"{len(data_std)} data_std for {config.num_stages} scales"
        self.preconditioning = config.model.preconditioning
        self.input_masking = config.model.input_masking
        self.precision = config.training.precision
        self.null_class = shape.num_classes
        self.scale_shapes = scale_shapes(config, shape)
        """Shape of each scale of one sample, [S]: (C, r, r), or (C, T, r, r)."""
        self.network = DiT(config, shape, MODEL_SIZES[config.model.size])
        self.register_buffer("data_std", torch.tensor(data_std, dtype=torch.float32), persistent=False)
        self.data_std: Tensor
        ends = None
        if config.paradigm == "pyramidal_flow":
            ends = pyramid_ends(pyramid_stages(config.num_stages, config.pyramidal_flow.gamma))
        self.register_buffer("stage_ends", ends, persistent=False)
        self.stage_ends: Tensor | None

    def use_activation_checkpointing(self) -> None:
        """Compute the blocks' activations anew in the backward pass: less memory, more time, the same numbers."""
        self.network.activation_checkpointing = True

    @property
    def has_one_graph(self) -> bool:
        """True if compiled blocks see one kind of batch: no token grids or weights that differ between stages, whose
        mixtures would be compiled one by one."""
        return self.network.wiring.alike and not self.network.by_stage

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        """`torch.compile` on every block, in place: names of weights stay, equal blocks share one compilation, which
        serves batches of all sizes."""
        self.network.is_compiled = True
        for block in self.network.blocks:
            block.compile(backend=backend)

    def _factors(self, t: Tensor) -> PreconditioningFactors:
        if self.stage_ends is not None:
            return pyramidal_factors(t, self.data_std, self.stage_ends, self.preconditioning)
        return preconditioning_factors(t, self.data_std, self.preconditioning)

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
        factors = self._factors(t)
        c_in = factors.c_in * mask if self.input_masking else factors.c_in
        inputs = [expand_like(c_in[:, s], scale) * scale for s, scale in enumerate(scales)]
        stage = mask.sum(dim=1).long() - 1
        # The meta device, on which models are only weighed, knows no autocast.
        kind, mixed = labels.device.type, self.precision == "bf16" and not labels.is_meta
        with torch.autocast("cpu" if kind == "meta" else kind, dtype=torch.bfloat16, enabled=mixed):
            outputs = self.network(inputs, t, labels, stage, stage_counts)
        return [
            expand_like(factors.c_skip[:, s], scale) * scale + expand_like(factors.c_out[:, s], scale) * output.float()
            for s, (scale, output) in enumerate(zip(scales, outputs, strict=True))
        ]


def scale_shapes(config: ExperimentConfig, shape: DataShape) -> tuple[tuple[int, ...], ...]:
    """Return the shape of each scale of one sample, coarsest first: (C, r, r), or (C, T, r, r) for videos."""
    channels, sides = config.decomposition.channels(shape.channels), config.decomposition.sides
    return tuple(shape.of_scale(count, side) for count, side in zip(channels, sides, strict=True))
