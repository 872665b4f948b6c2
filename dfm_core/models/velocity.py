"""The velocity model: masks, preconditioning and precision around the transformer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.model import MODEL_SIZES
from dfm_core.flow.jumps import pyramid_stages
from dfm_core.flow.path import expand_like
from dfm_core.models.blocks import Attention
from dfm_core.models.dit import DiT
from dfm_core.models.initialization import Whole, as_they_are
from dfm_core.models.network import Attend, SizedNetwork, VelocityNetwork, mixed_precision, scale_shapes
from dfm_core.models.preconditioning import (
    PreconditioningFactors,
    preconditioning_factors,
    pyramid_ends,
    pyramidal_factors,
)


class VelocityModel(VelocityNetwork):
    """The diffusion transformer with its preconditioning."""

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
        self.network.activation_checkpointing = True

    @property
    def has_one_graph(self) -> bool:
        """False if token grids or weights differ between stages."""
        return self.network.wiring.alike and not self.network.by_stage

    def compile_blocks(self, backend: str | Callable[..., Any] = "inductor") -> None:
        self.network.is_compiled = True
        for block in self.network.blocks:
            block.compile(backend=backend)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        return list(self.network.blocks)

    def use_attention(self, attend: Attend) -> None:
        for module in self.network.modules():
            if isinstance(module, Attention):
                module.attend = attend

    def reset_parameters(
        self,
        generator: torch.Generator,
        whole: Whole = as_they_are,
        given: Collection[str] = (),  # noqa: ARG002  it starts from nothing pretrained
    ) -> None:
        self.network.reset_parameters(generator, whole)

    def sized(self, height: int, width: int) -> SizedNetwork:
        if (height, width) != (own := self.scale_shapes[-1][-2:]):
            raise ValueError(f"this network was made for {list(own)} positions, got {[height, width]}")
        return SizedNetwork(self, self.scale_shapes)

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
        factors = self._factors(t)
        c_in = factors.c_in * mask if self.input_masking else factors.c_in
        inputs = [expand_like(c_in[:, s], scale) * scale for s, scale in enumerate(scales)]
        stage = mask.sum(dim=1).long() - 1
        with mixed_precision(labels.device, self.precision):
            outputs = self.network(inputs, t, labels, stage, stage_counts)
        return [
            expand_like(factors.c_skip[:, s], scale) * scale + expand_like(factors.c_out[:, s], scale) * output.float()
            for s, (scale, output) in enumerate(zip(scales, outputs, strict=True))
        ]
