"""Small stores of latents whose samples are known, and sources that misbehave."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from dfm_core.data.encoding.store_assembly import StoreIdentity, assemble, encode_shard, shard_name
from dfm_core.data.latents.manifest import MANIFEST, LatentManifest

SHAPE = (3, 4, 4)
NUM_CLASSES = 3


def sample(row: int) -> Tensor:
    """The posterior mean of one sample of a made store, `SHAPE` bf16."""
    generator = torch.Generator().manual_seed(row)
    return torch.randn(SHAPE, generator=generator).to(torch.bfloat16)


def make_store(folder: Path, shard_samples: tuple[int, ...] = (5, 4, 5, 2)) -> LatentManifest:
    """A store in `folder`: sample i is (`sample(i)`, its absolute value), of class i % 3."""
    folder.mkdir(parents=True, exist_ok=True)
    cards, begin = [], 0
    for number, count in enumerate(shard_samples):
        means = torch.stack([sample(row) for row in range(begin, begin + count)])
        labels = torch.arange(begin, begin + count) % NUM_CLASSES
        path = folder / shard_name(number, len(shard_samples))
        tensors = {"mean": means, "std": means.abs()}
        cards.append(encode_shard(path, number, tensors, labels, num_classes=NUM_CLASSES))
        begin += count
    identity = StoreIdentity("data", "encoder", mirrored=False, class_names=("a", "b", "c"), num_samples=begin)
    manifest = assemble(identity, cards, len(shard_samples))
    (folder / MANIFEST).write_bytes(manifest.document())
    return manifest


class FolderSource:
    """Shards that have to be fetched from a folder; counts how often, and does what `fault` does after the copy."""

    place = "made://store"

    def __init__(self, folder: Path, fault: Callable[[Path], None] = lambda _: None) -> None:
        self._folder, self._fault, self._lock = folder, fault, threading.Lock()
        self.fetched: Counter[str] = Counter()

    def local_path(self, name: str) -> Path | None:  # noqa: ARG002  nothing is on this machine
        return None

    def fetch(self, name: str, scratch: Path, num_bytes: int) -> Path:  # noqa: ARG002
        with self._lock:
            self.fetched[name] += 1
        path = Path(shutil.copy(self._folder / name, scratch / name))
        self._fault(path)
        return path


class LocalSource(FolderSource):
    """Shards that this machine sees."""

    def local_path(self, name: str) -> Path | None:
        return self._folder / name


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
