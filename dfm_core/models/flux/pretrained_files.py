"""Weights of a pretrained network in safetensors files, read slice by slice: no process ever holds them whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

CONFIG = "config.json"
_STEM = "diffusion_pytorch_model.safetensors"
_INDEX = f"{_STEM}.index.json"
_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_MOST_HEADER_BYTES = 100_000_000
"""The limit of safetensors itself."""
_MOST_DOCUMENT_BYTES = 2**24
_PIECE_ELEMENTS = 2**22
"""Elements that are read at once."""
_LOOKED_AT, _NUM_LOOKS = 65_536, 16

ReadBytes = Callable[[str, int, int], bytes | bytearray]
"""Return a file's bytes from a position up to another, fewer if it is shorter. Raises: FileNotFoundError."""


class TensorPlace(NamedTuple):
    """The place of one tensor."""

    file: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    """Position of its first byte in the file."""


class PretrainedFiles:
    """A folder as diffusers saves a network: `config.json` and safetensors, in one file or in several with an index.

    A `StateSource` of its tensors, whatever the kind of state that it is asked for.
    """

    def __init__(self, read: ReadBytes) -> None:
        """Args: read: reads the folder's files. Raises: ValueError if they are damaged, or in no such layout."""
        self._read = read
        self.settings: Mapping[str, Any] = self._document(CONFIG)
        files = self._file_names()
        self._headers = {name: self._header(name) for name in files}
        self.places: dict[str, TensorPlace] = {}
        """Place of each tensor, by its name."""
        for name in files:
            self.places.update(self._tensors(name))

    def fill(self, out: Tensor, kind: str, name: str, offset: int) -> None:  # noqa: ARG002  a `StateSource` of one kind
        """See `dfm_core.training.engine.StateSource`. Raises: ValueError if the tensor is missing or cut off."""
        place = self._place(name)
        size = place.dtype.itemsize
        for first in range(0, out.numel(), _PIECE_ELEMENTS):
            part = out[first : first + _PIECE_ELEMENTS]
            begin = place.begin + (offset + first) * size
            content = bytearray(self._read(place.file, begin, begin + part.numel() * size))
            if len(content) != part.numel() * size:
                raise ValueError(f"{place.file}: is cut off in {name}")
            part.copy_(torch.frombuffer(content, dtype=place.dtype))

    def tensor(self, name: str) -> Tensor:
        """Return a whole tensor, float32. Raises: ValueError if it is missing or cut off."""
        out = torch.empty(prod(self._place(name).shape))
        self.fill(out, "weight", name, 0)
        return out.view(self._place(name).shape)

    def problems(self, wanted: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
        """Yield what differs from the tensors of a network, in words.

        Args: wanted: shape of each tensor that it has, by name.
        """
        if missing := sorted(wanted.keys() - self.places.keys()):
            yield f"{len(missing)} tensors are missing, such as {missing[0]}"
        if more := sorted(self.places.keys() - wanted.keys()):
            yield f"{len(more)} tensors are unknown, such as {more[0]}"
        for name in sorted(wanted.keys() & self.places.keys()):
            if wanted[name] != self.places[name].shape:
                yield f"{name} is {list(self.places[name].shape)}, not {list(wanted[name])}"
                return

    def fingerprint(self) -> str:
        """Return a digest of settings, names and shapes, and of parts of every file: all of many gigabytes takes
        minutes to read, and another training's weights differ everywhere."""
        state = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode())
        for name, (header, end) in sorted(self._headers.items()):
            state.update(json.dumps(header, sort_keys=True).encode())
            last = max(place.begin + prod(place.shape) * place.dtype.itemsize for place in self._tensors(name).values())
            for look in range(_NUM_LOOKS):
                begin = end + max(0, last - end - _LOOKED_AT) * look // (_NUM_LOOKS - 1)
                state.update(self._read(name, begin, min(begin + _LOOKED_AT, last)))
        return state.hexdigest()

    def _place(self, name: str) -> TensorPlace:
        if name not in self.places:
            raise ValueError(f"its files have no tensor {name}")
        return self.places[name]

    def _file_names(self) -> tuple[str, ...]:
        try:
            index = self._document(_INDEX)
        except FileNotFoundError:
            return (_STEM,)
        names = index.get("weight_map")
        if not isinstance(names, dict) or not names or not all(isinstance(file, str) for file in names.values()):
            raise ValueError(f"{_INDEX}: has no weight_map")
        if strange := [file for file in names.values() if Path(file).name != file]:
            raise ValueError(f"{_INDEX}: leads out of its folder, to {strange[0]!r}")
        return tuple(sorted(set(names.values())))

    def _document(self, name: str) -> dict[str, Any]:
        content = self._read(name, 0, _MOST_DOCUMENT_BYTES)
        try:
            document = json.loads(bytes(content))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}: is no JSON ({error})") from None
        if not isinstance(document, dict):
            raise ValueError(f"{name}: is no JSON object")  # noqa: TRY004  a mistake in a file
        return document

    def _header(self, name: str) -> tuple[dict[str, Any], int]:
        """Return a file's header and the position at which it ends."""
        length = int.from_bytes(self._read(name, 0, 8), "little")
        if not 0 < length <= _MOST_HEADER_BYTES:
            raise ValueError(f"{name}: is no safetensors file; weights in other formats can run code, and are not read")
        try:
            header = json.loads(bytes(self._read(name, 8, 8 + length)))
            header.pop("__metadata__", None)
        except (AttributeError, ValueError, RecursionError) as error:
            raise ValueError(f"{name}: its header is none of safetensors ({error})") from None
        if not header:
            raise ValueError(f"{name}: holds no tensor")
        return header, 8 + length

    def _tensors(self, name: str) -> dict[str, TensorPlace]:
        header, end = self._headers[name]
        places = {}
        for tensor, about in header.items():
            try:
                dtype, shape = _DTYPES[about["dtype"]], tuple(int(length) for length in about["shape"])
                begin, stop = about["data_offsets"]
                sound = 0 <= begin <= stop and stop - begin == prod(shape) * dtype.itemsize
            except (KeyError, TypeError, ValueError):
                sound = False
            if not sound:
                known = ", ".join(_DTYPES)
                raise ValueError(f"{name}: {tensor} is described as no tensor of {known}: {json.dumps(about)[:200]}")
            places[tensor] = TensorPlace(name, dtype, shape, end + begin)
        return places


def open_pretrained(folder: Path) -> PretrainedFiles:
    """Return the network in a local folder. Raises: FileNotFoundError; ValueError if it is in no such layout."""

    def read(name: str, begin: int, end: int) -> bytes:
        with (folder / name).open("rb") as file:
            file.seek(begin)
            return file.read(end - begin)

    return PretrainedFiles(read)
