"""One shard of latents: a safetensors file that is mapped into memory, not read.

Its tensors are "label", [n] int32, or "caption", [n] int64, and what the manifest names, each [n, ...]. A sample is a
contiguous piece of the file, so reading one touches its pages and no others.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.data.latents.manifest import LABELS, DamagedLatentsError, LabelKind, ShardEntry, TensorSpec

Array = np.ndarray[Any, np.dtype[Any]]
TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
    "int32": torch.int32,
    "uint8": torch.uint8,
}
_LABEL_DTYPES: Mapping[str, torch.dtype] = {"int32": torch.int32, "int64": torch.int64}
_BITS: Mapping[str, tuple[torch.dtype, type[np.generic]]] = {
    "bfloat16": (torch.int16, np.int16),
    "float16": (torch.int16, np.int16),
    "float32": (torch.int32, np.int32),
    "int32": (torch.int32, np.int32),
    "uint8": (torch.uint8, np.uint8),
}
"""Types of the same size that numpy knows: it copies rows several times as fast as torch does."""
_LIBC = ctypes.CDLL(None)
_MADV_POPULATE_READ = 22
"""Constant of Linux; Python has no name for it, and no way to advise on a mapping that it did not create."""


def write_shard(path: Path, tensors: Mapping[str, Tensor], labels: Tensor, kind: LabelKind = "label") -> ShardEntry:
    """Writes a shard; the file is whole when this returns, not before.

    Args: tensors: by name, each [n, ...]. labels: of this kind, [n] int.
    Raises: ValueError if the numbers of samples differ, or for NaN and infinite values.
    """
    for name, tensor in tensors.items():
        if len(tensor) != len(labels):
            raise ValueError(f"{path.name}: {len(tensor)} samples of {name} and {len(labels)} labels")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            bad = (~tensor.flatten(1).isfinite().all(dim=1)).nonzero().flatten().tolist()
            raise ValueError(f"{path.name}: NaN or infinite values of {name} in its samples {bad[:10]}")
    own: dict[str, Tensor] = {kind: labels.to(_LABEL_DTYPES[LABELS[kind]])}
    save_file({**own, **{name: tensor.contiguous() for name, tensor in tensors.items()}}, path)
    return ShardEntry(path.name, len(labels), path.stat().st_size, sha256_of(path))


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class OpenShard:
    """A mapped shard. It stays readable when its file is removed."""

    labels: Array
    """[n], of the type of their kind."""
    bits: Mapping[str, Array]
    """Each tensor as numbers that numpy knows, [n, ...]; see `as_tensor`."""

    def map_pages(self) -> None:
        """Maps all pages at once, read from disk if need be: one by one, as they are first touched, they cost as much
        as copying them, and the system maps many small ones where it could map few large ones."""
        for bits in self.bits.values():
            begin = bits.ctypes.data // mmap.PAGESIZE * mmap.PAGESIZE
            num_bytes = bits.ctypes.data + bits.nbytes - begin
            # A system that does not know it (Linux before 5.14) refuses, and nothing is lost.
            _LIBC.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(num_bytes), _MADV_POPULATE_READ)


def open_shard(path: Path, entry: ShardEntry, specs: Mapping[str, TensorSpec], kind: LabelKind = "label") -> OpenShard:
    """Maps a shard that was verified.

    Raises: FileNotFoundError if it is not there (any more); DamagedLatentsError if it holds something else than the
    manifest says, which only a wrong manifest explains.
    """
    with path.open("rb"):  # safetensors has no error of its own for a missing file
        pass
    wanted = {name: (TORCH_DTYPES[spec.dtype], (entry.num_samples, *spec.shape)) for name, spec in specs.items()}
    wanted[kind] = (_LABEL_DTYPES[LABELS[kind]], (entry.num_samples,))
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in wanted}
    except SafetensorError as error:
        raise DamagedLatentsError(f"{path}: is no shard of latents ({error})") from None
    for name, (dtype, shape) in wanted.items():
        if (tensors[name].dtype, tuple(tensors[name].shape)) != (dtype, shape):
            is_ = f"{tensors[name].dtype} {list(tensors[name].shape)}"
            raise DamagedLatentsError(f"{path}: {name} is {is_}, its manifest says {dtype} {list(shape)}")
    bits = {name: tensors[name].view(_BITS[spec.dtype][0]).numpy() for name, spec in specs.items()}
    return OpenShard(tensors[kind].numpy(), bits)


def bits_type(spec: TensorSpec) -> type[np.generic]:
    """Return the type as which numpy sees a tensor's values."""
    return _BITS[spec.dtype][1]


def as_tensor(bits: Array, spec: TensorSpec) -> Tensor:
    """Return the tensor that shares the memory of its bits."""
    return torch.from_numpy(bits).view(TORCH_DTYPES[spec.dtype])
