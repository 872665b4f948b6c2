"""Initial weights: DiT's scheme, and stages that start equal (numerics 5.2, 6)."""

from __future__ import annotations

import torch
from torch import nn

from dfm_core.models.blocks import Block, Head
from dfm_core.models.embeddings import TimestepEmbedder
from dfm_core.models.linear import LoraLinear, SpecializedEmbedding, SpecializedLinear
from dfm_core.models.tokenformer import ParameterAttention

_EMBEDDING_STD = 0.02


def initialize(network: nn.Module, generator: torch.Generator) -> None:
    """xavier-uniform linears with zero bias, N(0, 0.02) embedders, zero adaLN and heads; then what stages add to it."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=_EMBEDDING_STD, generator=generator)
    for module in network.modules():
        if isinstance(module, TimestepEmbedder):
            for layer in module.layers:
                nn.init.normal_(layer.weight, std=_EMBEDDING_STD, generator=generator)
        elif isinstance(module, Block):
            nn.init.zeros_(module.modulation.weight)
        elif isinstance(module, Head):
            nn.init.zeros_(module.modulation.weight)
            nn.init.zeros_(module.linear.weight)
    # After the common weights, so that these are the same with and without weights per stage.
    _initialize_stages(network, generator)


def _initialize_stages(network: nn.Module, generator: torch.Generator) -> None:
    """Stages that start equal; parameter tokens, which have no common linear map to start from."""
    for module in network.modules():
        if isinstance(module, SpecializedLinear | SpecializedEmbedding):
            module.copy_base()
        elif isinstance(module, LoraLinear):
            module.reset_addition(generator)
        elif isinstance(module, ParameterAttention):
            module.reset_parameters(generator)
