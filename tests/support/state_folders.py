"""Checkpoints without a store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from dfm_core.training.engine import TrainingEngine
from dfm_core.training.piece_index import index_from_plain, merge_indexes
from dfm_core.training.pieces import PieceState, read_local, write_pieces


def write_state_pieces(engine: TrainingEngine, directory: Path) -> Path:
    """Write this worker's pieces and their index beside them. Returns the file of pieces."""
    path = directory / f"state-{engine.rank:05d}-of-{engine.world_size:05d}.safetensors"
    index = write_pieces({kind: list(engine.pieces(kind)) for kind in engine.kinds}, path)
    path.with_suffix(".json").write_text(json.dumps(index))
    return path


def read_state(files: Sequence[Path]) -> PieceState:
    """Return the state in the files of all workers that `write_state_pieces` wrote."""
    plain = [json.loads(path.with_suffix(".json").read_text()) for path in files]
    return PieceState(merge_indexes(map(index_from_plain, plain)), read_local(files[0].parent))


def read_folder(folder: Path) -> PieceState:
    """Return the state in a folder."""
    return read_state(sorted(folder.glob("state-*.safetensors")))
