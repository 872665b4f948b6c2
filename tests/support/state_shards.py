"""Checkpoints without a store."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import save_file

from dfm_core.training.engine import TrainingEngine
from dfm_core.training.state import shard_name, state_shard


def write_state_shard(engine: TrainingEngine, directory: Path) -> Path:
    """Write this worker's share of the state. Collective. Returns the file written."""
    path = directory / shard_name(engine.rank, engine.world_size)
    save_file(state_shard(engine), path)
    return path
