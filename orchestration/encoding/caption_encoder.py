"""Captions into the encodings that a model reads: a part is a shard of a few captions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import torch

from dfm_core.config import DataConfig
from dfm_core.data.captions.caption import CAPTIONED, caption_number
from dfm_core.data.captions.text_store import NUMBERS, POOLED, TOKENS
from dfm_core.data.encoding.store_assembly import (
    EncodedPart,
    StoreIdentity,
    assemble,
    encode_shard,
    read_part,
    shard_name,
)
from dfm_core.models.flux.text_encoders import TextEncoders
from orchestration.artifacts.samples.captioned_latents import read_captions
from orchestration.artifacts.samples.text_encodings import publish_texts
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, write_record
from orchestration.data.identity import TOKENS_KEPT
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask

CAPTIONS_PER_PART = 64
"""256 MiB of FLUX's encodings."""
TOKENS_PER_PART = 16_384
"""Captions of which tokens are stored; 56 MiB of FLUX's."""


class CaptionEncoder:
    """`PartEncoder` of captions: those of the tasks that it reads, and the empty one, sorted by number."""

    def __init__(self, store: Store, encoders: Callable[[DataConfig], TextEncoders]) -> None:
        """Args: encoders: loads those of a data section."""
        self._store, self._encoders = store, encoders
        self._known: dict[str, tuple[str, ...]] = {}

    def num_parts(self, task: EncodeTask) -> int:
        """See `PartEncoder`."""
        return -(-len(self._captions(task)) // _per_part(task))

    def encode(self, task: EncodeTask, number: int, num_parts: int, batch_samples: int) -> float:
        """See `PartEncoder`."""
        started, encoders = time.monotonic(), self._encoders(task.config.data)
        own = self._captions(task)[number * _per_part(task) : (number + 1) * _per_part(task)]
        encode = encoders.encode_pooled if _keeps_tokens(task) else encoders.encode
        batches = [encode(own[begin : begin + batch_samples]) for begin in range(0, len(own), batch_samples)]
        tokens = torch.cat([batch.tokens.cpu() for batch in batches])
        kept = {NUMBERS: tokens.to(torch.int32)} if _keeps_tokens(task) else {TOKENS: tokens}
        tensors = {**kept, POOLED: torch.cat([batch.pooled.cpu() for batch in batches])}
        cut = sum(sum(batch.cut) for batch in batches), sum(sum(batch.pooled_cut) for batch in batches)
        paths, numbers = TaskPaths(task.digest), torch.tensor([caption_number(caption) for caption in own])
        num_bytes = sum(tensor.nbytes for tensor in tensors.values())
        with (
            scratch_folder("encode") as scratch,
            require_disk_space(f"part {number} of the captions", num_bytes, scratch, *self._store.local_directories()),
        ):
            path = scratch / shard_name(number, num_parts)
            card = encode_shard(path, number, tensors, numbers, num_classes=None)
            self._store.put(path, f"{paths.latents}/{path.name}")
            self._store.write(_cut_file(paths, number), json.dumps(cut).encode())
            self._store.write(paths.shard_card(number), EncodedPart(card, ()).document())
        return time.monotonic() - started

    def finish(self, task: EncodeTask, num_parts: int, seconds: float, accelerator_seconds: float) -> None:
        """See `PartEncoder`."""
        paths, captions = TaskPaths(task.digest), self._captions(task)
        cards = [self._part(paths.shard_card(number)).card for number in range(num_parts)]
        cut = [json.loads(self._store.read(_cut_file(paths, number))) for number in range(num_parts)]
        identity = StoreIdentity(
            ",".join(task.payload["fingerprints"]), task.payload["encoders"], False, CAPTIONED, len(captions), "caption"
        )
        manifest = assemble(identity, cards, num_parts)
        publish_texts(self._store, paths.latents, manifest, [caption_number(caption) for caption in captions])
        metrics = {
            "num_samples": float(len(captions)),
            "num_cut": float(sum(long for long, _ in cut)),
            "num_pooled_cut": float(sum(long for _, long in cut)),
            "num_bytes": float(manifest.num_bytes),
            COST_METRIC: accelerator_seconds,
        }
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds))

    def _captions(self, task: EncodeTask) -> tuple[str, ...]:
        """Return all captions that are encoded, by number."""
        if task.digest not in self._known:
            read = {one for digest in task.inputs for one in read_captions(self._store, TaskPaths(digest).latents)}
            self._known[task.digest] = tuple(sorted({"", *read}, key=caption_number))
        return self._known[task.digest]

    def _part(self, place: str) -> EncodedPart:
        return read_part(self._store.read(place), self._store.uri(place))


def _keeps_tokens(task: EncodeTask) -> bool:
    """Return whether tokens are stored, whose readers encode them."""
    return task.payload.get("kept") == TOKENS_KEPT


def _per_part(task: EncodeTask) -> int:
    return TOKENS_PER_PART if _keeps_tokens(task) else CAPTIONS_PER_PART


def _cut_file(paths: TaskPaths, number: int) -> str:
    """Return the file with the numbers of captions that either encoder cut."""
    return f"{paths.latents}/cut/{number:05d}.json"
