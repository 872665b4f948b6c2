"""State in flat pieces: each worker writes those that it owns, and any number of workers reads the slices it needs.

A piece is a run of elements of one flattened tensor, in a safetensors file. Whoever reads a slice verifies the pieces
under it, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.training.engine import OwnedPiece, SizedState, StateKind, StateSource
from dfm_core.training.piece_index import BYTES, MOST_ELEMENTS, DamagedStateError, PieceEntry, PieceIndex, positions

ReadBytes = Callable[[str, int, int], bytearray]
"""Returns a file's bytes from a position up to another, fewer if it is shorter."""


def write_pieces(pieces: Mapping[StateKind, Iterable[OwnedPiece]], path: Path) -> PieceIndex:
    """Write one worker's pieces, float32 on the host, as a safetensors file; return where each lies."""
    tensors: dict[str, Tensor] = {}
    places: dict[str, tuple[StateKind, str, int]] = {}
    for kind, owned in pieces.items():
        for name, offset, values in owned:
            for first in range(0, values.numel(), MOST_ELEMENTS):
                key = f"{kind}/{name}@{offset + first}"
                tensors[key] = values[first : first + MOST_ELEMENTS]
                places[key] = (kind, name, offset + first)
    save_file(tensors, path)
    begins = positions(path)
    index: dict[StateKind, dict[str, list[PieceEntry]]] = {kind: {} for kind in pieces}
    for key, (kind, name, offset) in places.items():
        digest = hashlib.sha256(tensors[key].numpy().data).hexdigest()
        entry = PieceEntry(path.name, offset, tensors[key].numel(), begins[key][0], digest)
        index[kind].setdefault(name, []).append(entry)
    return index


class PieceState:
    """A `StateSource` that reads slices out of files."""

    def __init__(self, index: PieceIndex, read: ReadBytes) -> None:
        self._index, self._read = index, read

    def sizes(self, kind: StateKind) -> dict[str, int]:
        """Return the elements of each tensor of a kind, by name."""
        return {name: sum(entry.length for entry in entries) for name, entries in self._index.get(kind, {}).items()}

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        """See `StateSource.fill`. Raises: DamagedStateError; whatever reading does."""
        position, end = offset, offset + out.numel()
        for entry in self._index.get(kind, {}).get(name, []):
            stop = min(end, entry.offset + entry.length)
            if entry.offset <= position < stop:
                values = self._values(entry)[position - entry.offset : stop - entry.offset]
                out[position - offset : stop - offset].copy_(values)
                position = stop
        if position < end:
            raise DamagedStateError(f"{kind} of {name}: elements from {position} up to {end} are missing")

    def _values(self, entry: PieceEntry) -> Tensor:
        content = self._read(entry.file, entry.begin, entry.begin + BYTES * entry.length)
        is_whole = len(content) == BYTES * entry.length
        if not is_whole or (entry.sha256 and hashlib.sha256(content).hexdigest() != entry.sha256):
            raise DamagedStateError(f"{entry.file}: bytes from {entry.begin} on are not what its index says")
        return torch.frombuffer(content, dtype=torch.float32)


class JoinedState:
    """A `SizedState` of which some tensors are another's."""

    def __init__(
        self, own: SizedState, names: Mapping[str, str], other: StateSource, kind: StateKind, sizes: Mapping[str, int]
    ) -> None:
        """Args: names: a tensor's name in the other state by its name here. kind: of all its tensors there. sizes: of
        the other's tensors, by name there."""
        self._own, self._names, self._other, self._kind = own, names, other, kind
        self._sizes = {name: sizes[origin] for name, origin in names.items() if origin in sizes}

    def sizes(self, kind: StateKind) -> dict[str, int]:
        """See `SizedState.sizes`."""
        return {**self._own.sizes(kind), **self._sizes}

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        """See `StateSource.fill`. Raises: what either of both does."""
        if name in self._names:
            self._other.fill(out, self._kind, self._names[name], offset)
        else:
            self._own.fill(out, kind, name, offset)


class TensorState:
    """A `StateSource` of whole tensors in memory."""

    def __init__(self, tensors: Mapping[StateKind, Mapping[str, Tensor]]) -> None:
        self._tensors = tensors

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        out.copy_(self._tensors[kind][name].reshape(-1)[offset : offset + out.numel()])


def read_local(directory: Path) -> ReadBytes:
    """Return the function that reads the files of a directory."""

    def read(name: str, begin: int, end: int) -> bytearray:
        content = bytearray(end - begin)
        with (directory / Path(name).name).open("rb") as file:
            file.seek(begin)
            del content[file.readinto(content) :]
        return content

    return read
