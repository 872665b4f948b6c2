"""Tiny FLUX networks of diffusers' own classes, and texts for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config import DecompositionConfig, ExperimentConfig, SamplingConfig
from dfm_core.config.model import BackboneDescription
from dfm_core.models.flux.velocity import FluxVelocity
from dfm_core.models.registry import build_network
from dfm_core.models.text_tables import NULL_CAPTION, MemoryTextTable
from tests.support.models import tiny_dfm, tiny_flow_matching, with_values

TINY_FLUX = FluxArchitecture(
    in_channels=16,
    num_layers=1,
    num_single_layers=1,
    attention_head_dim=16,
    num_attention_heads=2,
    joint_attention_dim=12,
    pooled_projection_dim=10,
    axes_dims_rope=(4, 6, 6),
)
FLUX_SHAPE = DataShape(channels=4, num_classes=0)
TEXT_LENGTH = 5
CAPTIONS = (11, 22, 2**63 - 1, NULL_CAPTION)
"""Numbers of the captions in `texts`."""


def tiny_flux(stages: int, values: Mapping[str, Any] | None = None) -> ExperimentConfig:
    """FLUX-FT with one stage, FLUX-DFM with two, on latents of 4 channels and side 8."""
    own: dict[str, Any] = {
        "model.backbone": "flux",
        "model.start": "tiny",
        "model.described": BackboneDescription("flux:tiny", TINY_FLUX),
        "model.preconditioning": "none",
        "model.patch_sizes": (2,) * stages,
        "data.dataset": "captioned",  # of which no card says anything
        "data.text": "tiny",
        "data.text_length": TEXT_LENGTH,
    }
    if stages == 2:
        own["decomposition"] = DecompositionConfig("laplacian", (4, 8), held_at="full")
        own["sampling"] = SamplingConfig(steps=(3, 2), tau=(0.7,))
    start = tiny_dfm() if stages == 2 else tiny_flow_matching()
    return with_values(start, {**own, **(values or {})})


def texts(dtype: torch.dtype = torch.float32) -> MemoryTextTable:
    """Random encodings of `CAPTIONS`."""
    generator = torch.Generator().manual_seed(3)

    def row() -> tuple[Tensor, Tensor]:
        tokens = torch.randn(TEXT_LENGTH, TINY_FLUX.joint_attention_dim, generator=generator)
        return tokens.to(dtype), torch.randn(TINY_FLUX.pooled_projection_dim, generator=generator).to(dtype)

    return MemoryTextTable({caption: row() for caption in CAPTIONS})


def flux_network(stages: int, values: Mapping[str, Any] | None = None, seed: int = 7) -> FluxVelocity:
    """A network of `tiny_flux` with `texts` and weights that are all random."""
    config = tiny_flux(stages, values)
    network = build_network(config, FLUX_SHAPE, (1.0,) * stages)
    assert isinstance(network, FluxVelocity)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    network.use_text(texts())
    return network


def pretrained(seed: int = 5, architecture: FluxArchitecture = TINY_FLUX) -> Any:
    """diffusers' own network with random weights."""
    from diffusers import FluxTransformer2DModel

    network: Any = FluxTransformer2DModel(**architecture.settings)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=generator)
    return network


def labels(count: int) -> Tensor:
    """Captions in turn, [count] int64."""
    return torch.tensor([CAPTIONS[index % len(CAPTIONS)] for index in range(count)])
