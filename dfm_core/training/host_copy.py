"""A worker's pieces copied to the host, so that the training can go on while they are written."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from dfm_core.training.engine import OwnedPiece, StateKind, TrainingEngine


class HostCopy:
    """Room on the host for a worker's pieces, kept from copy to copy; pinned where they come from a GPU."""

    def __init__(self) -> None:
        self._rooms: dict[tuple[StateKind, bool], Tensor] = {}

    def take(
        self,
        engine: TrainingEngine[Any],
        kinds: Iterable[StateKind],
        *,
        frozen: bool = False,
        left_out: Collection[str] = (),
    ) -> Mapping[StateKind, list[OwnedPiece]]:
        """Return copies of the pieces of some kinds, valid until the next call. Sends nothing.

        Args: frozen: of the weights that are not trained, instead of those that are. left_out: names of weights that
            nobody needs, the same at every call.
        """
        copies = {kind: self._copy((kind, frozen), engine, left_out) for kind in kinds}
        if engine.device.type == "cuda":
            torch.cuda.current_stream(engine.device).synchronize()
        return copies

    def _copy(
        self, part: tuple[StateKind, bool], engine: TrainingEngine[Any], left_out: Collection[str]
    ) -> list[OwnedPiece]:
        kind, frozen = part
        pieces = [piece for piece in engine.pieces(kind, frozen=frozen) if piece.name not in left_out]
        num_elements = sum(piece.values.numel() for piece in pieces)
        if part not in self._rooms:
            pinned = engine.device.type == "cuda"
            self._rooms[part] = torch.empty(num_elements, dtype=torch.float32, pin_memory=pinned)
        rooms = torch.split(self._rooms[part], [piece.values.numel() for piece in pieces])
        for piece, room in zip(pieces, rooms, strict=True):
            room.copy_(piece.values, non_blocking=True)
        return [piece._replace(values=room) for piece, room in zip(pieces, rooms, strict=True)]
