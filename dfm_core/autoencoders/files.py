"""An autoencoder's files as diffusers lays them out: `config.json` and safetensors. Nothing in them is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dfm_core.autoencoders.identity import CONFIG, WEIGHTS


def read_config(folder: Path, class_name: str) -> Mapping[str, Any]:
    """Return the settings of a network of this class.

    Raises: ValueError if there are none, or they are another class's.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ValueError(f"{folder}: has no {CONFIG}; needed are {CONFIG} and {WEIGHTS}, as diffusers saves them")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is no JSON ({error})") from None
    own_class = config.get("_class_name") if isinstance(config, dict) else None
    if own_class != class_name:
        raise ValueError(f"{path}: is of {own_class!r}, needed is {class_name!r}")
    return dict(config)


def load_weights(network: nn.Module, folder: Path) -> None:
    """Raises: ValueError if they are missing, damaged, or another network's, naming what differs."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise ValueError(f"{folder}: has no {WEIGHTS}; weights in other formats can run code, and are not read")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: is damaged or no safetensors file ({error})") from None
    if problems := _differences(network.state_dict(), weights):
        raise ValueError(f"{path}: holds the weights of another network: {'; '.join(problems)}")
    network.load_state_dict(weights)


def _differences(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    problems = []
    if missing := sorted(wanted.keys() - given.keys()):
        problems.append(f"{len(missing)} are missing, such as {missing[0]}")
    if more := sorted(given.keys() - wanted.keys()):
        problems.append(f"{len(more)} are unknown, such as {more[0]}")
    for name in sorted(wanted.keys() & given.keys()):
        if wanted[name].shape != given[name].shape:
            problems.append(f"{name} is {list(given[name].shape)}, not {list(wanted[name].shape)}")
            break
    if bad := [name for name, tensor in given.items() if tensor.is_floating_point() and not tensor.isfinite().all()]:
        problems.append(f"NaN or infinite values in {bad[0]}")
    return problems
