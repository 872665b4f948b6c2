"""Samples of a store of latents by global index, from shards that are mapped where they lie or in the node's cache."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dfm_core.data.latents.buffers import Buffers
from dfm_core.data.latents.manifest import DamagedLatentsError, LatentManifest
from dfm_core.data.latents.shard_cache import ShardCache, ShardSource, touched
from dfm_core.data.latents.shards import Array, OpenShard, as_tensor, bits_type, open_shard

_PIECE_SAMPLES = 4
_LARGE_BYTES = 1 << 20
"""Batch size in bytes from which copying takes longer than handing a part of it to another thread."""
_LOOK_SECONDS = 1.0
_TRIES = 100


@dataclass(frozen=True)
class LatentBatch:
    """Some samples of a store."""

    tensors: Mapping[str, Tensor]
    """Tensors that the manifest names, each [B, ...]."""
    labels: Tensor
    """Classes, or numbers of captions, [B] int64."""


@dataclass
class _Held:
    """A shard that this process has mapped, and the file that it mapped."""

    shard: OpenShard
    path: Path
    inode: int
    in_cache: bool
    looked: float

    def is_current(self, used: bool) -> bool:
        """False once the file was removed: holding on to it would keep its disk space from the cache."""
        now = time.monotonic()
        if now - self.looked < _LOOK_SECONDS:
            return True
        self.looked = now
        if used and self.in_cache and not touched(self.path):
            return False
        try:
            return self.path.stat().st_ino == self.inode
        except FileNotFoundError:
            return False


@dataclass(frozen=True)
class _Copies:
    """Samples of one shard and their places in a batch."""

    target: Array
    source: Array
    places: list[int]
    rows: list[int]

    def pieces(self) -> Iterator[Callable[[], None]]:
        """Yield the work, a few samples each."""
        for begin in range(0, len(self.places), _PIECE_SAMPLES):
            yield partial(self._make, begin, begin + _PIECE_SAMPLES)

    def _make(self, begin: int, end: int) -> None:
        """One contiguous copy a sample; fancy indexing would make two."""
        target, source = self.target, self.source
        for place, row in zip(self.places[begin:end], self.rows[begin:end], strict=True):
            target[place] = source[row]


def _copy(copies: Sequence[_Copies], helper: Executor | None) -> None:
    """Makes them all, with a helper's help: numpy lets go of the GIL while it copies.

    Each of the two takes a piece when it is free, so that a helper whose processor is busy delays no other.
    """
    left = iter([piece for one in copies for piece in one.pieces()])  # of a list: threads may share it

    def work() -> None:
        while (piece := next(left, None)) is not None:
            piece()

    other = helper.submit(work) if helper is not None else None
    work()
    if other is not None and not other.cancel():
        other.result()


def _memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE


class LatentDataset:
    """A store's samples. May be used by several threads."""

    def __init__(self, manifest: LatentManifest, source: ShardSource, cache: ShardCache) -> None:
        self.manifest, self._source, self.cache = manifest, source, cache
        self.shard_samples = tuple(shard.num_samples for shard in manifest.shards)
        self._ends = np.cumsum(self.shard_samples)
        self._held: dict[int, _Held] = {}
        self._lock = threading.Lock()
        self._buffers = Buffers()

    def __len__(self) -> int:
        return self.manifest.num_samples

    @property
    def is_in_place(self) -> bool:
        """This machine sees the shards: none is copied."""
        return self._source.local_path(self.manifest.shards[0].name) is not None

    def read(self, rows: Sequence[int] | Array, helper: Executor | None = None) -> LatentBatch:
        """Some samples, in the order asked for. Shards that are not here yet are fetched.

        A batch's memory is used again when nothing that was made from it without a copy is held any more.

        Args: rows: positions in 0..len - 1, [B]. helper: copies a part of a large batch meanwhile. Raises: IndexError;
            as `ShardCache.get`.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"samples {wanted.min()} to {wanted.max()} were asked for, there are {len(self)}")
        specs = self.manifest.tensors
        shape = {name: (len(wanted), *spec.shape) for name, spec in specs.items()}
        out = {name: self._buffers.array(shape[name], bits_type(spec)) for name, spec in specs.items()}
        labels = np.empty(len(wanted), np.int64)
        owners, copies = self.shards_of(wanted), list[_Copies]()
        for number in np.unique(owners).tolist():
            shard, first = self._opened(number), int(self._ends[number]) - self.shard_samples[number]
            places = np.flatnonzero(owners == number)
            inside = wanted[places] - first
            labels[places] = shard.labels[inside]
            for name, bits in shard.bits.items():
                copies.append(_Copies(out[name], bits, places.tolist(), inside.tolist()))
        _copy(copies, helper if sum(bits.nbytes for bits in out.values()) >= _LARGE_BYTES else None)
        return LatentBatch({name: as_tensor(bits, specs[name]) for name, bits in out.items()}, torch.from_numpy(labels))

    def shards_of(self, rows: Array) -> Array:
        """Return the shard of each sample, [B]."""
        return np.searchsorted(self._ends, rows, side="right")

    def fetch(self, number: int) -> None:
        """Has a shard here, verified, before it is read."""
        self._opened(number)

    def map_pages(self, number: int) -> None:
        """Map a fetched shard into memory before it is read; do nothing for a store that may not fit."""
        held = self._held.get(number)
        if held is not None and self.manifest.num_bytes <= _memory_bytes() // 2:
            held.shard.map_pages()

    def _opened(self, number: int) -> OpenShard:
        held = self._held.get(number)
        if held is None or not held.is_current(used=True):
            held = self._open(number)
            with self._lock:
                self._held = {key: own for key, own in self._held.items() if own.is_current(used=False)}
                self._held[number] = held
        return held.shard

    def _open(self, number: int) -> _Held:
        entry = self.manifest.shards[number]
        for _ in range(_TRIES):
            path = self.cache.get(self._source, entry)
            try:
                inode, in_cache = path.stat().st_ino, path.parent == self.cache.folder
                shard = open_shard(path, entry, self.manifest.tensors, self.manifest.labels)
                return _Held(shard, path, inode, in_cache, time.monotonic())
            except FileNotFoundError:  # made room for another shard since
                continue
        raise DamagedLatentsError(
            f"{self.cache.folder}: {entry.name} was removed {_TRIES} times before it could be opened: the cache is far "
            "too small for what the processes of this machine read at once"
        )
