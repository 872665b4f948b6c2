"""The index of a state's pieces: in which file each lies and where, and its sha256."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

from dfm_core.training.engine import STATE_KINDS, StateKind

MANIFEST = "manifest.json"
"""Beside the pieces, with their index."""
UNMOVED = "unmoved"
"""Key of a snapshot's manifest that names the weights which its training did not move, and where they are."""
SNAPSHOT_WEIGHTS = "ema.safetensors"
RAW_WEIGHTS = "raw.safetensors"
"""Whole weights before averaging, as release 0.1.0 wrote them."""
_KINDS: Mapping[str, StateKind] = {SNAPSHOT_WEIGHTS: "ema", RAW_WEIGHTS: "weight"}
MOST_ELEMENTS = 2**22
"""Longer pieces are cut, 16 MiB each: so much is read and verified for a slice, however short."""
_MOST_HEADER_BYTES = 100_000_000
"""The limit of safetensors itself."""
BYTES = 4
"""Size of an element."""


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
        entries = (entry for tensors in index.values() for of_tensor in tensors.values() for entry in of_tensor)
        sound = set(index) <= set(STATE_KINDS) and all(map(_is_sound, entries))
    except (AttributeError, TypeError, ValueError) as error:
        raise DamagedStateError(f"its index of pieces cannot be read: {error}") from None
    if not sound:
        raise DamagedStateError("its index of pieces cannot be read")
    return cast("PieceIndex", index)


def _is_sound(entry: PieceEntry) -> bool:
    """Return False for what no writer wrote; reading it could take all memory."""
    numbers = (entry.offset, entry.length, entry.begin)
    return all(isinstance(number, int) and 0 <= number < 2**62 for number in numbers) and entry.length <= MOST_ELEMENTS


def index_whole_tensors(files: Iterable[Path]) -> PieceIndex:
    """Return the index of files with whole tensors: a snapshot's, or those under "kind/name" of release 0.1.0.

    Args: files: others are left out. Raises: DamagedStateError if a header cannot be one of safetensors.
    """
    indexes: list[PieceIndex] = []
    for path in (path for path in files if path.name in _KINDS or path.name.startswith("state-")):
        for key, (begin, end) in positions(path).items():
            kind, _, name = (_KINDS[path.name], "", key) if path.name in _KINDS else key.partition("/")
            if kind not in STATE_KINDS:
                raise DamagedStateError(f"{path.name}: unknown kind of state {kind!r}")
            indexes.append({kind: {name: [PieceEntry(path.name, 0, (end - begin) // BYTES, begin, "")]}})
    return merge_indexes(indexes)


def positions(path: Path) -> dict[str, tuple[int, int]]:
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


def read_index(directory: Path) -> PieceIndex:
    """Return the index in the manifest of a directory. Raises: DamagedStateError; FileNotFoundError without one."""
    try:
        document = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        plain = document["about"]["pieces"]
    except (LookupError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DamagedStateError(f"{MANIFEST} has no index of pieces: {error!r}") from None
    return index_from_plain(plain)
