"""State in flat pieces: each worker writes those that it owns, and any number of workers reads the slices it needs.

A piece is a run of elements of one flattened tensor, in a safetensors file. The index says of each in which file it
lies and where, and its sha256: whoever reads a slice verifies the pieces under it, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.training.engine import STATE_KINDS, OwnedPiece, StateKind

MANIFEST = "manifest.json"
"""Beside the pieces, with their index."""
SNAPSHOT_WEIGHTS = "ema.safetensors"
RAW_WEIGHTS = "raw.safetensors"
"""Whole weights before averaging, as release 0.1.0 wrote them."""
_KINDS: Mapping[str, StateKind] = {SNAPSHOT_WEIGHTS: "ema", RAW_WEIGHTS: "weight"}
MOST_ELEMENTS = 2**22
"""Longer pieces are cut, 16 MiB each: so much is read and verified for a slice, however short."""
_MOST_HEADER_BYTES = 100_000_000
"""The limit of safetensors itself."""
_BYTES = 4
ReadBytes = Callable[[str, int, int], bytes]
"""Returns a file's bytes from a position up to another."""


class DamagedStateError(ValueError):
    """Pieces are missing, or are not what their index says."""


class PieceEntry(NamedTuple):
    """The place of a piece."""

    file: str
    offset: int
    """First element in the flattened tensor."""
    length: int
    """Elements."""
    begin: int
    """Position of the first byte in the file."""
    sha256: str
    """Digest of its bytes; "": the file was verified as a whole."""


PieceIndex = Mapping[StateKind, Mapping[str, list[PieceEntry]]]
"""Pieces by kind and name of the tensor."""


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
    begins = _positions(path)
    index: dict[StateKind, dict[str, list[PieceEntry]]] = {kind: {} for kind in pieces}
    for key, (kind, name, offset) in places.items():
        digest = hashlib.sha256(tensors[key].numpy().data).hexdigest()
        entry = PieceEntry(path.name, offset, tensors[key].numel(), begins[key][0], digest)
        index[kind].setdefault(name, []).append(entry)
    return index


def merge_indexes(indexes: Iterable[PieceIndex]) -> PieceIndex:
    """Return the index of all workers' pieces, each tensor's in order."""
    merged: dict[StateKind, dict[str, list[PieceEntry]]] = {}
    for index in indexes:
        for kind, tensors in index.items():
            for name, entries in tensors.items():
                merged.setdefault(kind, {}).setdefault(name, []).extend(entries)
    for tensors in merged.values():
        for entries in tensors.values():
            entries.sort(key=lambda entry: entry.offset)
    return merged


def index_from_plain(plain: Any) -> PieceIndex:
    """Return an index from JSON; `PieceIndex` itself is the way there. Raises: DamagedStateError if it is none."""
    try:
        index = {
            kind: {name: [PieceEntry(*entry) for entry in entries] for name, entries in tensors.items()}
            for kind, tensors in plain.items()
        }
        numbers = (n for tensors in index.values() for e in tensors.values() for one in e for n in one[1:4])
        sound = set(index) <= set(STATE_KINDS) and all(isinstance(number, int) and number >= 0 for number in numbers)
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedStateError(f"its index of pieces cannot be read: {error}") from None
    if not sound:
        raise DamagedStateError("its index of pieces cannot be read")
    return cast("PieceIndex", index)


def index_whole_tensors(files: Iterable[Path]) -> PieceIndex:
    """Return the index of files with whole tensors: a snapshot's, or those under "kind/name" of release 0.1.0.

    Args: files: others are left out. Raises: DamagedStateError if a header cannot be one of safetensors.
    """
    indexes: list[PieceIndex] = []
    for path in (path for path in files if path.name in _KINDS or path.name.startswith("state-")):
        for key, (begin, end) in _positions(path).items():
            kind, _, name = (_KINDS[path.name], "", key) if path.name in _KINDS else key.partition("/")
            if kind not in STATE_KINDS:
                raise DamagedStateError(f"{path.name}: unknown kind of state {kind!r}")
            indexes.append({kind: {name: [PieceEntry(path.name, 0, (end - begin) // _BYTES, begin, "")]}})
    return merge_indexes(indexes)


def _positions(path: Path) -> dict[str, tuple[int, int]]:
    """Return first byte and end of each float32 tensor in a safetensors file, by key."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_MOST_HEADER_BYTES, size - 8):
            raise DamagedStateError(f"{path.name}: its header is longer than one of safetensors can be")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            data = 8 + length
            spans = {key: (data + one["data_offsets"][0], data + one["data_offsets"][1]) for key, one in header.items()}
            sound = all(one["dtype"] == "F32" for one in header.values())
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedStateError(f"{path.name}: its header is none of safetensors: {error!r}") from None
    if not sound or not all(data <= begin <= end <= size for begin, end in spans.values()):
        raise DamagedStateError(f"{path.name}: its header is none of safetensors with float32 tensors in it")
    return spans


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
        content = self._read(entry.file, entry.begin, entry.begin + _BYTES * entry.length)
        is_whole = len(content) == _BYTES * entry.length
        if not is_whole or (entry.sha256 and hashlib.sha256(content).hexdigest() != entry.sha256):
            raise DamagedStateError(f"{entry.file}: bytes from {entry.begin} on are not what its index says")
        return torch.frombuffer(bytearray(content), dtype=torch.float32)


class TensorState:
    """A `StateSource` of whole tensors in memory."""

    def __init__(self, tensors: Mapping[StateKind, Mapping[str, Tensor]]) -> None:
        self._tensors = tensors

    def fill(self, out: Tensor, kind: StateKind, name: str, offset: int) -> None:
        out.copy_(self._tensors[kind][name].reshape(-1)[offset : offset + out.numel()])


def read_index(directory: Path) -> PieceIndex:
    """Return the index in the manifest of a directory. Raises: DamagedStateError; FileNotFoundError without one."""
    try:
        document = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        plain = document["about"]["pieces"]
    except (LookupError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedStateError(f"{MANIFEST} has no index of pieces: {error!r}") from None
    return index_from_plain(plain)


def read_local(directory: Path) -> ReadBytes:
    """Return the function that reads the files of a directory."""

    def read(name: str, begin: int, end: int) -> bytes:
        with (directory / Path(name).name).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    return read
