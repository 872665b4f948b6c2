"""Training state and snapshots on disk: safetensors and JSON, nothing that can run code.

A checkpoint holds whole parameters, dealt out over the workers in turn: each worker writes one shard, and any number
of workers at any ZeRO stage can read them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

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
from dfm_core.models.velocity import VelocityModel
from dfm_core.paradigms.standardization import scale_divisors
from dfm_core.seeding import sample_generator
from dfm_core.training.engine import STATE_KINDS, State, StateKind, TrainingEngine

SNAPSHOT_WEIGHTS = "ema.safetensors"
RAW_WEIGHTS = "raw.safetensors"
SNAPSHOT_CARD = "snapshot.json"
PYRAMID_WEIGHTS = "pyramid.safetensors"


def shard_name(rank: int, world_size: int) -> str:
    return f"state-{rank:05d}-of-{world_size:05d}.safetensors"


def state_shard(engine: TrainingEngine) -> dict[str, Tensor]:
    """This worker's share of the state, copied to the host. Collective: all workers call it.

    Returns: tensor by "kind/parameter"; shard r of W holds the parameters number r, r + W, r + 2W, ...
    """
    kept: dict[str, Tensor] = {}
    for kind in STATE_KINDS:
        for position, (name, tensor) in enumerate(engine.tensors(kind)):
            if position % engine.world_size == engine.rank:
                kept[f"{kind}/{name}"] = tensor.clone().contiguous()
    return kept


def read_state(shards: Iterable[Path]) -> State:
    """Return the whole state from all shards of a checkpoint, whatever the number of workers that wrote them."""
    state: dict[StateKind, dict[str, Tensor]] = {kind: {} for kind in STATE_KINDS}
    for path in sorted(shards):
        for key, tensor in load_file(path).items():
            kind, _, name = key.partition("/")
            assert kind in STATE_KINDS, f"{path}: unknown kind of state {kind!r}"
            state[kind][name] = tensor
    return state


@dataclass(frozen=True)
class SnapshotCard:
    """Data beside the weights that sampling from a snapshot needs."""

    step: int
    shape: DataShape
    scale_std: tuple[float, ...]
    """Standard deviation of each scale on the training data."""


@dataclass(frozen=True)
class Snapshot:
    """A loaded snapshot for sampling: config, averaged weights, statistics and decomposition."""

    config: ExperimentConfig
    card: SnapshotCard
    model: VelocityModel
    """Model in evaluation mode."""
    decomposition: Decomposition
    pyramid: Mapping[str, Tensor] | None = None
    """Weights of the learned decomposition, if the config names it."""


def write_snapshot(
    engine: TrainingEngine,
    config: ExperimentConfig,
    card: SnapshotCard,
    directory: Path,
    pyramid: Mapping[str, Tensor] | None = None,
) -> list[Path]:
    """Writes the averaged weights and the card; worker 0 writes, all call. Returns the files written here.

    Args: pyramid: weights of the learned decomposition, if the config names it.
    """
    weights = {name: tensor.clone().contiguous() for name, tensor in engine.tensors("ema") if engine.rank == 0}
    if engine.rank != 0:
        return []
    return write_snapshot_files(weights, config, card, directory, pyramid)


def write_raw_weights(engine: TrainingEngine, directory: Path) -> list[Path]:
    """Writes the weights as the optimiser has them; worker 0 writes, all call. Returns the files written here."""
    weights = {name: tensor.clone().contiguous() for name, tensor in engine.tensors("weight") if engine.rank == 0}
    if engine.rank != 0:
        return []
    save_file(weights, directory / RAW_WEIGHTS)
    return [directory / RAW_WEIGHTS]


def write_snapshot_files(
    weights: Mapping[str, Tensor],
    config: ExperimentConfig,
    card: SnapshotCard,
    directory: Path,
    pyramid: Mapping[str, Tensor] | None,
) -> list[Path]:
    """Write a snapshot's files, safetensors and JSON, in a directory that is made if needed; return them."""
    directory.mkdir(parents=True, exist_ok=True)
    weights_path, card_path = directory / SNAPSHOT_WEIGHTS, directory / SNAPSHOT_CARD
    save_file(dict(weights), weights_path)
    document = {"numerics": NUMERICS_CHANGED_IN["train"], "config": as_plain(config), "card": as_plain(card)}
    card_path.write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")
    if pyramid is None:
        return [weights_path, card_path]
    save_file(dict(pyramid), directory / PYRAMID_WEIGHTS)
    return [weights_path, card_path, directory / PYRAMID_WEIGHTS]


def build_model(config: ExperimentConfig, shape: DataShape, scale_std: tuple[float, ...]) -> VelocityModel:
    """Return a velocity model with initial weights that depend on the config's seed alone.

    Args: scale_std: standard deviation of each scale on the training data.
    """
    divisors = scale_divisors(config, scale_std)
    data_std = [std / divisor for std, divisor in zip(scale_std, divisors, strict=True)]
    model = VelocityModel(config, shape, data_std=data_std)
    draw = sample_generator(config.seed, "initial_weights", 0)
    generator = torch.Generator().manual_seed(int(draw.integers(2**63)))
    model.network.reset_parameters(generator)
    return model


def load_snapshot(directory: Path | str) -> Snapshot:
    """Return a snapshot from its files alone, on the CPU.

    Raises: FileNotFoundError if a file is missing; ValueError if one is damaged or another version wrote it.
    """
    directory = Path(directory)
    _require(directory, SNAPSHOT_CARD, SNAPSHOT_WEIGHTS)
    try:
        config, card = _read_card(directory)
        model = build_model(config, card.shape, card.scale_std)
        model.load_state_dict(load_file(directory / SNAPSHOT_WEIGHTS))
        pyramid = None
        if config.decomposition.name == "learned":
            _require(directory, SNAPSHOT_CARD, SNAPSHOT_WEIGHTS, PYRAMID_WEIGHTS)
            pyramid = load_file(directory / PYRAMID_WEIGHTS)
        decomposition = build_decomposition(config.decomposition, pyramid)
    except FileNotFoundError:
        raise
    except (ArithmeticError, LookupError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as problem:
        raise ValueError(f"{directory} is damaged, or another version of dfm_core wrote it: {problem}") from problem
    return Snapshot(config, card, model.eval(), decomposition, pyramid)


def _require(directory: Path, *names: str) -> None:
    missing = [name for name in names if not (directory / name).is_file()]
    if missing:
        has = f"{directory} has no {', '.join(missing)}"
        raise FileNotFoundError(f"{has}; a snapshot is a directory with {', '.join(names)}")


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
    if len(card.scale_std) != config.num_stages or not all(map(math.isfinite, card.scale_std)):
        raise ValueError(f"scale_std {card.scale_std} is not {config.num_stages} finite number(s)")
    return config, card
