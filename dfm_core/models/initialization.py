"""Initial weights: DiT's scheme, stages that start equal (numerics 5.2, 6), and weights of the network before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn

from dfm_core.config import ExperimentConfig
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


def inherited_names(config: ExperimentConfig, own: Mapping[str, int], before: Mapping[str, int]) -> dict[str, str]:
    """Return which weight of the network before each weight of a model begins as; those left out begin anew.

    In a cascade (numerics 7) the network of stage q takes blocks and tables, makes stage q - 1's patchify that of its
    condition, and its timestep embedder its own. New are what stage q - 1 has no counterpart for: the patchify and the
    head of its own level, whose patches have another size, and the embedder of the condition's noise.

    Args: config: of the model's own training. own, before: elements of each weight of the model and of the network
        before it, by name.
    """
    taken, fresh = {name: name for name in before}, tuple[str, ...]()
    if config.paradigm == "cascaded":
        (stage,) = config.own_stages
        given = f"network.timestep_embedders.{stage - 1}."
        fresh = (f"network.patch_embedders.{stage}.", f"network.heads.{stage}.", given)
        taken = {name.replace(given, f"network.timestep_embedders.{stage}."): name for name in before}
    strangers = [name for name in own if name not in taken and not name.startswith(fresh)]
    assert not strangers, f"nothing to start {', '.join(strangers)} from"
    names = {name: taken[name] for name in own if name in taken}
    misfits = [name for name, origin in names.items() if own[name] != before[origin]]
    assert not misfits, f"other sizes in the network before: {', '.join(misfits)}"
    return names
