"""Training state and snapshots on disk: safetensors and JSON, nothing that can run code.

A checkpoint holds whole parameters, dealt out over the workers in turn: each worker writes one shard, and any number
of workers at any ZeRO stage can read them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dfm_core.config import ExperimentConfig, as_plain, from_plain
from dfm_core.data.catalog import DataShape
from dfm_core.decompositions import Decomposition, build_decomposition
from dfm_core.models.velocity import VelocityModel
from dfm_core.seeding import sample_generator
from dfm_core.training.engine import STATE_KINDS, State, StateKind, TrainingEngine

SNAPSHOT_WEIGHTS = "ema.safetensors"
SNAPSHOT_CARD = "snapshot.json"
PYRAMID_WEIGHTS = "pyramid.safetensors"


def shard_name(rank: int, world_size: int) -> str:
    return f"state-{rank:05d}-of-{world_size:05d}.safetensors"


def write_state_shard(engine: TrainingEngine, directory: Path) -> Path:
    """Writes this worker's share of the state. Collective: all workers call it.

    Returns: the file written; shard r of W holds the parameters number r, r + W, r + 2W, ...
    """
    kept: dict[str, Tensor] = {}
    for kind in STATE_KINDS:
        for position, (name, tensor) in enumerate(engine.tensors(kind)):
            if position % engine.world_size == engine.rank:
                kept[f"{kind}/{name}"] = tensor.clone().contiguous()
    path = directory / shard_name(engine.rank, engine.world_size)
    save_file(kept, path)
    return path


def read_state(shards: Iterable[Path]) -> State:
    """The whole state from all shards of a checkpoint, whatever the number of workers that wrote them."""
    state: dict[StateKind, dict[str, Tensor]] = {kind: {} for kind in STATE_KINDS}
    for path in sorted(shards):
        for key, tensor in load_file(path).items():
            kind, _, name = key.partition("/")
            assert kind in STATE_KINDS, f"{path}: unknown kind of state {kind!r}"
            state[kind][name] = tensor
    return state


@dataclass(frozen=True)
class SnapshotCard:
    """What is needed beside the weights to sample from a snapshot."""

    step: int
    shape: DataShape
    scale_std: tuple[float, ...]
    """Standard deviation of each scale on the training data."""


@dataclass(frozen=True)
class Snapshot:
    """What sampling needs: config, averaged weights, statistics and decomposition."""

    config: ExperimentConfig
    card: SnapshotCard
    model: VelocityModel
    """In evaluation mode."""
    decomposition: Decomposition


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


def write_snapshot_files(
    weights: Mapping[str, Tensor],
    config: ExperimentConfig,
    card: SnapshotCard,
    directory: Path,
    pyramid: Mapping[str, Tensor] | None,
) -> list[Path]:
    """A snapshot's files: safetensors and JSON. Returns them."""
    weights_path, card_path = directory / SNAPSHOT_WEIGHTS, directory / SNAPSHOT_CARD
    save_file(dict(weights), weights_path)
    card_path.write_text(json.dumps({"config": as_plain(config), "card": as_plain(card)}, indent=1, sort_keys=True))
    if pyramid is None:
        return [weights_path, card_path]
    save_file(dict(pyramid), directory / PYRAMID_WEIGHTS)
    return [weights_path, card_path, directory / PYRAMID_WEIGHTS]


def read_snapshot_card(directory: Path) -> SnapshotCard:
    return from_plain(SnapshotCard, json.loads((directory / SNAPSHOT_CARD).read_text())["card"])


def build_model(config: ExperimentConfig, shape: DataShape, scale_std: tuple[float, ...]) -> VelocityModel:
    """A velocity model with initial weights that depend on the config's seed alone.

    Args: scale_std: standard deviation of each scale on the training data; the model sees ones if standardised.
    """
    data_std = (1.0,) * config.num_stages if config.data.standardize else scale_std
    model = VelocityModel(config, shape, data_std=data_std)
    draw = sample_generator(config.seed, "initial_weights", 0)
    generator = torch.Generator().manual_seed(int(draw.integers(2**63)))
    model.network.reset_parameters(generator)
    return model


def load_snapshot(directory: Path) -> Snapshot:
    """A snapshot from its files alone, on the CPU.

    Raises: FileNotFoundError if a file is missing; ValueError if another version wrote it.
    """
    config = from_plain(ExperimentConfig, json.loads((directory / SNAPSHOT_CARD).read_text())["config"])
    card = read_snapshot_card(directory)
    model = build_model(config, card.shape, card.scale_std)
    model.load_state_dict(load_file(directory / SNAPSHOT_WEIGHTS))
    pyramid = directory / PYRAMID_WEIGHTS
    decomposition = build_decomposition(config.decomposition, load_file(pyramid) if pyramid.is_file() else None)
    return Snapshot(config, card, model.eval(), decomposition)
