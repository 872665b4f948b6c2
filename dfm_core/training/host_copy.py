"""A worker's pieces copied to the host, so that the training can go on while they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dfm_core.training.engine import OwnedPiece, StateKind, TrainingEngine


class HostCopy:
    """Room on the host for a worker's pieces, kept from copy to copy; pinned where they come from a GPU."""

    def __init__(self) -> None:
        self._rooms: dict[StateKind, Tensor] = {}

    def take(self, engine: TrainingEngine[Any], kinds: Iterable[StateKind]) -> Mapping[StateKind, list[OwnedPiece]]:
        """Return copies of the pieces of some kinds, valid until the next call. Sends nothing."""
        copies = {kind: self._copy(kind, list(engine.pieces(kind)), engine.device) for kind in kinds}
        if engine.device.type == "cuda":
            torch.cuda.current_stream(engine.device).synchronize()
        return copies

    def _copy(self, kind: StateKind, pieces: list[OwnedPiece], device: torch.device) -> list[OwnedPiece]:
        num_elements = sum(piece.values.numel() for piece in pieces)
        if kind not in self._rooms:
            self._rooms[kind] = torch.empty(num_elements, dtype=torch.float32, pin_memory=device.type == "cuda")
        rooms = torch.split(self._rooms[kind], [piece.values.numel() for piece in pieces])
        for piece, room in zip(pieces, rooms, strict=True):
            room.copy_(piece.values, non_blocking=True)
        return [piece._replace(values=room) for piece, room in zip(pieces, rooms, strict=True)]
