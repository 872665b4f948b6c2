"""Models with initial weights, and snapshots on disk: safetensors and JSON, nothing that can run code.

A snapshot holds its weights whole, as `write_snapshot` writes them, or in the pieces of a training's workers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dfm_core.catalog.datasets import DataShape
from dfm_core.config import ExperimentConfig
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.config.plain import as_plain, from_plain
from dfm_core.config.rules import broken_rules
from dfm_core.decompositions import Decomposition, build_decomposition
from dfm_core.models.empty_weights import give_weights, without_weights
from dfm_core.models.initialization import Whole, as_they_are
from dfm_core.models.network import VelocityNetwork
from dfm_core.models.registry import build_network
from dfm_core.paradigms.standardization import scale_divisors
from dfm_core.seeding import sample_generator
from dfm_core.training.engine import PlainEngine, SizedState, StateKind
from dfm_core.training.piece_index import MANIFEST, SNAPSHOT_WEIGHTS, UNMOVED, DamagedStateError, read_index
from dfm_core.training.pieces import PieceState, read_local

SNAPSHOT_CARD = "snapshot.json"
PYRAMID_WEIGHTS = "pyramid.safetensors"


@dataclass(frozen=True)
class SnapshotCard:
    """Data beside the weights that sampling from a snapshot needs."""

    step: int
    shape: DataShape
    scale_std: tuple[float, ...]
    """Standard deviation of each scale on the training data."""
    class_names: tuple[str, ...] = ()
    """Names of the classes, in the order of their labels; empty: those of the config's dataset, if it has any."""


@dataclass(frozen=True)
class Snapshot:
    """A loaded snapshot for sampling: config, averaged weights, statistics and decomposition."""

    config: ExperimentConfig
    card: SnapshotCard
    model: VelocityNetwork
    """Model in evaluation mode."""
    decomposition: Decomposition
    pyramid: Mapping[str, Tensor] | None = None
    """Weights of the learned decomposition, if the config names it."""


def write_snapshot(
    engine: PlainEngine[Any],
    config: ExperimentConfig,
    card: SnapshotCard,
    directory: Path,
    pyramid: Mapping[str, Tensor] | None = None,
) -> list[Path]:
    """Write the averaged weights and the card. Returns the files written.

    Args: pyramid: weights of the learned decomposition, if the config names it.
    """
    weights = {name: tensor.contiguous() for name, tensor in engine.tensors("ema")}
    return write_snapshot_files(weights, config, card, directory, pyramid)


def write_snapshot_files(
    weights: Mapping[str, Tensor],
    config: ExperimentConfig,
    card: SnapshotCard,
    directory: Path,
    pyramid: Mapping[str, Tensor] | None,
) -> list[Path]:
    """Write a snapshot's files, safetensors and JSON, in a directory that is made if needed; return them."""
    directory.mkdir(parents=True, exist_ok=True)
    save_file(dict(weights), directory / SNAPSHOT_WEIGHTS)
    return [directory / SNAPSHOT_WEIGHTS, *write_card(config, card, directory, pyramid)]


def write_card(
    config: ExperimentConfig, card: SnapshotCard, directory: Path, pyramid: Mapping[str, Tensor] | None
) -> list[Path]:
    """Write all files of a snapshot but its weights; return them."""
    document = {"numerics": NUMERICS_CHANGED_IN["train"], "config": as_plain(config), "card": as_plain(card)}
    path = directory / SNAPSHOT_CARD
    path.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    if pyramid is None:
        return [path]
    save_file(dict(pyramid), directory / PYRAMID_WEIGHTS)
    return [path, directory / PYRAMID_WEIGHTS]


def build_model(config: ExperimentConfig, shape: DataShape, scale_std: tuple[float, ...]) -> VelocityNetwork:
    """Return a velocity model with initial weights that depend on the config's seed alone.

    Args: scale_std: standard deviation of each scale on the training data.
    """
    model = build_network(config, shape, _data_std(config, scale_std))
    initialize_model(model, config)
    return model


def empty_model(config: ExperimentConfig, shape: DataShape, scale_std: tuple[float, ...]) -> VelocityNetwork:
    """Return a velocity model whose weights take no memory yet, see `give_weights`. Args: as `build_model`."""
    with without_weights():
        return build_network(config, shape, _data_std(config, scale_std))


def _data_std(config: ExperimentConfig, scale_std: tuple[float, ...]) -> list[float]:
    """Return the standard deviation of each scale as the model sees it."""
    divisors = scale_divisors(config, scale_std)
    return [std / divisor for std, divisor in zip(scale_std, divisors, strict=True)]


def initialize_model(
    model: VelocityNetwork, config: ExperimentConfig, whole: Whole = as_they_are, given: Collection[str] = ()
) -> None:
    """Set the initial weights, which depend on the config's seed alone.

    Args: whole: makes weights that are dealt out over workers whole while they are set. given: names of weights that
        are set otherwise.
    """
    draw = sample_generator(config.seed, "initial_weights", 0)
    generator = torch.Generator().manual_seed(int(draw.integers(2**63)))
    model.reset_parameters(generator, whole, given)


def load_snapshot(directory: Path | str, weights: SizedState | None = None) -> Snapshot:
    """Return a snapshot from its files alone, on the CPU; its weights may be whole or in pieces.

    Args: weights: where these lie elsewhere.
    Raises: FileNotFoundError if a file is missing; ValueError if one is damaged or another version wrote it.
    """
    directory = Path(directory)
    in_pieces = (directory / MANIFEST).is_file() and not (directory / SNAPSHOT_WEIGHTS).is_file()
    needed = [SNAPSHOT_CARD] if weights else [SNAPSHOT_CARD, MANIFEST if in_pieces else SNAPSHOT_WEIGHTS]
    _require(directory, *needed)
    if weights is None and in_pieces:
        _require_all_weights(directory)
    try:
        config, card = _read_card(directory)
        model = empty_model(config, card.shape, card.scale_std)
        give_weights(model, torch.device("cpu"))
        if weights is None and in_pieces:
            weights = PieceState(read_index(directory), read_local(directory))
        if weights is not None:
            fill_weights(model, weights, "ema")
        else:
            model.load_state_dict(load_file(directory / SNAPSHOT_WEIGHTS))
        pyramid = None
        if config.decomposition.name == "learned":
            _require(directory, *needed, PYRAMID_WEIGHTS)
            pyramid = load_file(directory / PYRAMID_WEIGHTS)
        decomposition = build_decomposition(config.decomposition, pyramid)
    except FileNotFoundError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as problem:
        kind = DamagedStateError if isinstance(problem, DamagedStateError) else ValueError
        raise kind(f"{directory} is damaged, or another version of dfm_core wrote it: {problem}") from problem
    return Snapshot(config, card, model.eval(), decomposition, pyramid)


def fill_weights(model: VelocityNetwork, state: SizedState, kind: StateKind) -> None:
    """Set all weights of a model from a state. Raises: DamagedStateError; ValueError if they are another model's."""
    weights = dict(model.named_parameters())
    own, given = {name: weight.numel() for name, weight in weights.items()}, dict(state.sizes(kind))
    if own != given:
        strangers = sorted(name for name, _ in own.items() ^ given.items())
        raise ValueError(f"its weights do not fit its config: {', '.join(strangers[:3])}")
    for name, weight in weights.items():
        state.fill(weight.data.view(-1), kind, name, 0)


def _require(directory: Path, *names: str) -> None:
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        has = f"{directory} has no {', '.join(missing)}"
        raise FileNotFoundError(f"{has}; a snapshot is a directory with {', '.join(names)}")


def _require_all_weights(directory: Path) -> None:
    """Raises: ValueError if some weights are elsewhere."""
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    unmoved = manifest.get("about", {}).get(UNMOVED) if isinstance(manifest, dict) else None
    if unmoved:
        raise ValueError(
            f"{directory}: {len(unmoved['names'])} of its weights did not move in its training, and are where that "
            "started: load it by DFMPipeline.from_sweep, or export it"
        )


def _read_card(directory: Path) -> tuple[ExperimentConfig, SnapshotCard]:
    """Raises: ValueError, TypeError or KeyError if the card cannot be of a snapshot that this version wrote."""
    document = json.loads((directory / SNAPSHOT_CARD).read_text(encoding="utf-8"))
    if document["numerics"] != NUMERICS_CHANGED_IN["train"]:
        raise ValueError(f"its numerics are version {document['numerics']}, ours {NUMERICS_CHANGED_IN['train']}")
    config, card = from_plain(ExperimentConfig, document["config"]), from_plain(SnapshotCard, document["card"])
    # The dataset need not be known here.
    broken = broken_rules(replace(config, data=replace(config.data, dataset="", described=None)))
    if broken:
        raise ValueError("; ".join(f"{key}: {message}" for key, message in broken))
    if card.class_names and not len(card.class_names) == len(set(card.class_names)) == card.shape.num_classes:
        raise ValueError(f"it has {card.shape.num_classes} classes and the names {', '.join(card.class_names)}")
    if len(card.scale_std) != config.num_stages or not all(map(math.isfinite, card.scale_std)):
        raise ValueError(f"scale_std {card.scale_std} is not {config.num_stages} finite number(s)")
    return config, card
