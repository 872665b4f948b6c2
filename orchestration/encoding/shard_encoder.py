"""The work of an `encode` task on an evaluator: shards of latents, and the store of them at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict

from dfm_core.data.encoding.encode import EncodedUnits, EncodingSpec, encode_units
from dfm_core.data.encoding.excluded_samples import ExcludedSamples
from dfm_core.data.encoding.store_assembly import (
    EncodedPart,
    ShardCard,
    StoreIdentity,
    assemble,
    encode_shard,
    read_part,
    shard_name,
)
from dfm_core.data.files.folder_report import BadFile
from dfm_core.data.files.raw_samples import RawDataset
from dfm_core.data.latents.manifest import LatentManifest
from orchestration.artifacts.samples.latents import publish_latents
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, write_record
from orchestration.encoding.encoding_source import side_of
from orchestration.encoding.excluded_files import LEFT_OUT, in_one_line, listed, write_left_out
from orchestration.encoding.file_encoder import FileEncoder
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.tasks.task import EncodeTask


def _copies(task: EncodeTask) -> int:
    """Return how many samples a file becomes."""
    return 2 if task.payload["mirrored"] else 1


class ShardEncoder(FileEncoder):
    """`PartEncoder` of latents of one shape: a part is a shard."""

    def encode(self, task: EncodeTask, number: int, num_parts: int, batch_samples: int) -> float:
        """Write a shard and its card. Returns the seconds that it took.

        Raises: as `num_parts`; ValueError for what the autoencoder cannot take; DiskFullError.
        """
        started, dataset, data = time.monotonic(), self._source.dataset(task), task.config.data
        mirrored = bool(task.payload["mirrored"])
        spec = EncodingSpec(side_of(task), data.frames or None, data.stride, mirrored)
        encoded = encode_units(
            dataset,
            self._units(task, number),
            self._autoencoder(task),
            spec,
            batch_samples=batch_samples,
            device=self._device,
            num_threads=self._num_threads,
        )
        self._check_left_out(task, encoded.left_out)
        self._write(task, number, num_parts, dataset, encoded)
        return time.monotonic() - started

    def finish(self, task: EncodeTask, num_parts: int, seconds: float, accelerator_seconds: float) -> None:
        """Publish the store and the task's record.

        Raises: UnusableFolderError if more was left out than is allowed; ValueError if a class is
            empty or a part is missing.
        """
        parts = [self._part(task, number) for number in range(num_parts)]
        bad = [*self._source.dataset(task).left_out, *(one for part in parts for one in part.left_out)]
        there = sum(part.card.num_left_out + sum(part.card.class_counts) for part in parts) // _copies(task)
        num_lost = self._source.num_lost(task, there, bad)
        manifest = self._manifest(task, [part.card for part in parts], bad, num_lost)
        publish_latents(self._store, TaskPaths(task.digest).latents, manifest)
        write_left_out(self._store, task.digest, bad)
        metrics = {
            "num_samples": float(manifest.num_samples),
            "num_left_out": float(sum(one.is_sample for one in bad) + num_lost),
            "num_bytes": float(manifest.num_bytes),
            COST_METRIC: accelerator_seconds,
        }
        shown = listed(bad)
        if num_lost:
            shown.append(f"{num_lost} more samples, which damaged shards should have held")
        about = {
            "class_counts": list(manifest.class_counts),
            "statistics": {name: asdict(statistics) for name, statistics in manifest.statistics.items()},
            "left_out": shown,
        }
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds, files=(LEFT_OUT,), about=about))

    def _write(self, task: EncodeTask, number: int, num_parts: int, dataset: RawDataset, encoded: EncodedUnits) -> None:
        paths, card = TaskPaths(task.digest), ShardCard(number, encoded.num_left_out)
        num_bytes = sum(tensor.nbytes for tensor in encoded.tensors.values())
        with (
            scratch_folder("encode") as scratch,
            require_disk_space(f"part {number} of the latents", num_bytes, scratch, *self._store.local_directories()),
        ):
            if len(encoded.labels):
                path = scratch / shard_name(number, num_parts)
                card = encode_shard(
                    path,
                    number,
                    encoded.tensors,
                    encoded.labels,
                    num_classes=len(dataset.class_names),
                    num_left_out=encoded.num_left_out,
                )
                self._store.put(path, f"{paths.latents}/{path.name}")
            self._store.write(paths.shard_card(number), EncodedPart(card, encoded.left_out).document())

    def _part(self, task: EncodeTask, number: int) -> EncodedPart:
        place = TaskPaths(task.digest).shard_card(number)
        return read_part(self._store.read(place), self._store.uri(place))

    def _manifest(
        self, task: EncodeTask, cards: Sequence[ShardCard], bad: Sequence[BadFile], num_lost: int
    ) -> LatentManifest:
        """Return the manifest of the whole store. Raises: as `finish`."""
        copies, class_names = _copies(task), self._source.dataset(task).class_names
        class_counts = [sum(counts) for counts in zip(*(c.class_counts for c in cards if c.class_counts), strict=True)]
        left_out = ExcludedSamples(self._source.place(task), self._source.max_bad_share(task))
        left_out.bad += bad
        with in_one_line():
            counts = [count // copies for count in class_counts]
            left_out.finish(counts, class_names if class_counts else (), num_lost)
        identity = StoreIdentity(
            task.payload["fingerprint"],
            task.payload["encoder"],
            bool(task.payload["mirrored"]),
            class_names,
            copies * task.num_samples,
        )
        try:
            return assemble(identity, cards, len(cards), copies * num_lost)
        except ValueError as error:
            place = self._store.uri(TaskPaths(task.digest).latents)
            raise ValueError(f"{place}: {error}; remove it and submit again to encode all anew") from None
