"""Initial weights of FLUX over scales: pretrained ones with a second scale that changes nothing yet, or random ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import partial
from typing import Any

import torch
from torch import nn

from dfm_core.config import TrainingConfig
from dfm_core.models.empty_weights import draw_on_host
from dfm_core.models.flux.adapters import DOWN, UP, AdaptedLinear
from dfm_core.models.initialization import Whole, as_they_are

_SECOND = "scales.1."
_COPIES = {
    f"{_SECOND}time.linear_1.": "time_text_embed.timestep_embedder.linear_1.",
    f"{_SECOND}norm_out.linear.": "norm_out.linear.",
}
"""Layers of the second scale that start as the first one's. All others are zero: with `time.linear_1` zero too no
gradient would ever reach either weight of that embedder, since SiLU(0) = 0."""
_ZEROS = ("linear_2", "proj_out", "stage_table", "x_embedder")
"""Layers of a second scale that start at zero, so that it is neither read nor predicted yet."""


def starting_names(names: Iterable[str], available: Iterable[str]) -> dict[str, str]:
    """Return the pretrained tensor that each weight starts as; those left out start at zero (DFM, appendix E.1).

    Args: names: of weights, diffusers' and the second scale's. available: of the pretrained tensors; if they hold a
        second scale, that is taken.
    Raises: ValueError naming how many that should be there are missing.
    """
    given, origins, missing = set(available), dict[str, str](), []
    has_second = any(name.startswith(_SECOND) for name in given)
    for name in names:
        if name.endswith((DOWN, UP)) and name not in given:
            continue
        origin = name if has_second or not name.startswith(_SECOND) else _copied(name)
        if origin in given:
            origins[name] = str(origin)
        elif origin is not None:
            missing.append(origin)
    if adapters := [name for name in given if name.endswith((DOWN, UP)) and name not in origins]:
        raise ValueError(
            f"it has {len(adapters)} weights of an adapter, such as {adapters[0]}: export it, and start there"
        )
    if missing:
        raise ValueError(f"{len(missing)} tensors are missing, such as {missing[0]}")
    return origins


def _copied(name: str) -> str | None:
    return next((name.replace(own, first) for own, first in _COPIES.items() if name.startswith(own)), None)


def is_trained(name: str, training: TrainingConfig) -> bool:
    """Return True if a training moves a weight, by diffusers' name of it, or the second scale's."""
    if training.trainable == "projections":
        layer = name.removeprefix(_SECOND).rpartition(".")[0]
        return layer in ("x_embedder", "proj_out")
    return training.adapter is None or name.endswith((DOWN, UP)) or name.startswith(_SECOND)


def initialize_flux(
    network: nn.Module, generator: torch.Generator, whole: Whole = as_they_are, given: Collection[str] = ()
) -> None:
    """Set random weights: xavier-uniform linears with zero bias, norms of one; adaLN's modulations and the heads are
    zero, as DiT's, and so is what keeps a second scale out.

    Args: whole: called with a few weights at a time, so that the network need not be whole anywhere. given: names of
        weights that need no values.
    """
    zeros = _zero_layers(network)
    for name, module in network.named_modules():
        weights = [weight for own, weight in module.named_parameters(recurse=False) if f"{name}.{own}" not in given]
        if not weights:
            continue
        with whole(weights):
            if isinstance(module, AdaptedLinear):
                module.reset_addition(generator)
            if f"{name}.weight" in given:
                continue
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.zeros_(module.weight)
                if (bias := getattr(module, "bias", None)) is not None:
                    nn.init.zeros_(bias)
                if isinstance(module, nn.Linear) and name not in zeros:
                    draw_on_host(module.weight, partial(nn.init.xavier_uniform_, generator=generator))
            else:  # a norm's scale
                for weight in weights:
                    nn.init.ones_(weight)


def _zero_layers(network: Any) -> Collection[str]:
    """Names of the layers that start at zero."""
    names = {name for name, _ in network.named_modules()}
    modulations = {name for name in names if name.endswith((".norm.linear", ".norm1.linear", ".norm1_context.linear"))}
    second = {name for name in names if name.startswith(_SECOND) and name.rpartition(".")[2] in _ZEROS}
    return modulations | second | {"proj_out", "norm_out.linear"}
