"""Initial weights: DiT's scheme, and stages that start equal (numerics 5.2, 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from dfm_core.models.blocks import Block, Head
from dfm_core.models.embeddings import TimestepEmbedder
from dfm_core.models.empty_weights import draw_on_host
from dfm_core.models.linear import LoraLinear, SpecializedEmbedding, SpecializedLinear
from dfm_core.models.tokenformer import ParameterAttention

_EMBEDDING_STD = 0.02
Whole = Callable[[Iterable[Tensor]], AbstractContextManager[object]]
"""Makes weights that are dealt out over workers whole for a `with` block, in which all workers set them alike."""


def as_they_are(_weights: Iterable[Tensor]) -> AbstractContextManager[object]:
    """The `Whole` of weights that nobody dealt out."""
    return nullcontext()


def initialize(network: nn.Module, generator: torch.Generator, whole: Whole = as_they_are) -> None:
    """xavier-uniform linears with zero bias, N(0, 0.02) embedders, zero adaLN and heads; then what stages add to it.

    Args: whole: called with a few weights at a time, so that the network need not be whole anywhere.
    """
    embedding = partial(nn.init.normal_, std=_EMBEDDING_STD, generator=generator)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            with whole([module.weight, module.bias]):
                draw_on_host(module.weight, partial(nn.init.xavier_uniform_, generator=generator))
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            with whole([module.weight]):
                draw_on_host(module.weight, embedding)
    for module in network.modules():
        if isinstance(module, TimestepEmbedder):
            for layer in module.layers:
                with whole([layer.weight]):
                    draw_on_host(layer.weight, embedding)
        elif isinstance(module, Block | Head):
            zeros = [module.modulation] if isinstance(module, Block) else [module.modulation, module.linear]
            for layer in zeros:
                with whole([layer.weight]):
                    nn.init.zeros_(layer.weight)
    # After the common weights, so that these are the same with and without weights per stage.
    _initialize_stages(network, generator, whole)


def _initialize_stages(network: nn.Module, generator: torch.Generator, whole: Whole) -> None:
    """Stages that start equal; parameter tokens, which have no common linear map to start from."""
    for module in network.modules():
        if isinstance(module, SpecializedLinear | SpecializedEmbedding):
            with whole(module.parameters(recurse=False)):
                module.copy_base()
        elif isinstance(module, LoraLinear):
            with whole([module.down, module.up]):
                module.reset_addition(generator)
        elif isinstance(module, ParameterAttention):
            with whole(module.parameters(recurse=False)):
                module.reset_parameters(generator)
