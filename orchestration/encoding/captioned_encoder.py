"""Captioned images into latents of several shapes: a part is one shard of each shape that its images have."""

from __future__ import annotations

import time

from dfm_core.data.captions.caption import CAPTIONED
from dfm_core.data.encoding.captioned import CaptionedUnits, encode_captioned
from dfm_core.data.encoding.captioned_parts import (
    CaptionedPart,
    assemble_shapes,
    read_captioned_part,
    sorted_captions,
)
from dfm_core.data.encoding.excluded_samples import ExcludedSamples
from dfm_core.data.encoding.store_assembly import encode_shard, shard_name
from orchestration.artifacts.samples.captioned_latents import publish_captioned, shape_directory
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, write_record
from orchestration.encoding.excluded_files import LEFT_OUT, in_one_line, listed, write_left_out
from orchestration.encoding.file_encoder import FileEncoder
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.layout import TaskPaths
from orchestration.storage.scratch import scratch_folder
from orchestration.tasks.task import EncodeTask


class CaptionedEncoder(FileEncoder):
    """`PartEncoder` of captioned images."""

    def encode(self, task: EncodeTask, number: int, num_parts: int, batch_samples: int) -> float:
        """See `PartEncoder`."""
        started = time.monotonic()
        encoded = encode_captioned(
            self._source.dataset(task),
            self._units(task, number),
            self._autoencoder(task),
            task.payload["sides"],
            task.payload["token_pixels"],
            batch_samples=batch_samples,
            device=self._device,
            num_threads=self._num_threads,
        )
        self._check_left_out(task, encoded.left_out)
        self._write(task, number, num_parts, encoded)
        return time.monotonic() - started

    def finish(self, task: EncodeTask, num_parts: int, seconds: float, accelerator_seconds: float) -> None:
        """See `PartEncoder`."""
        parts = [self._part(task, number) for number in range(num_parts)]
        bad = [*self._source.dataset(task).left_out, *(one for part in parts for one in part.left_out)]
        num_encoded = sum(part.num_encoded for part in parts)
        named = sum(one.is_sample and not one.holds_many for part in parts for one in part.left_out)
        num_lost = self._source.num_lost(task, num_encoded + named, bad)
        excluded = ExcludedSamples(self._source.place(task), self._source.max_bad_share(task))
        excluded.bad += bad
        with in_one_line():
            excluded.finish([num_encoded], CAPTIONED, num_lost)
        manifests = assemble_shapes(task.payload["fingerprint"], task.payload["encoder"], parts)
        captions = sorted_captions(parts)
        publish_captioned(self._store, TaskPaths(task.digest).latents, manifests, captions)
        write_left_out(self._store, task.digest, bad)
        metrics = {
            "num_samples": float(num_encoded),
            "num_captions": float(len(captions)),
            "num_left_out": float(sum(one.is_sample for one in bad) + num_lost),
            "num_bytes": float(sum(manifest.num_bytes for manifest in manifests.values())),
            COST_METRIC: accelerator_seconds,
        }
        counts = {str(shape): manifest.num_samples for shape, manifest in manifests.items()}
        about = {"shapes": counts, "left_out": listed(bad)}
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds, files=(LEFT_OUT,), about=about))

    def _write(self, task: EncodeTask, number: int, num_parts: int, encoded: CaptionedUnits) -> None:
        paths, cards = TaskPaths(task.digest), {}
        num_bytes = sum(tensor.nbytes for own in encoded.shapes.values() for tensor in own.tensors.values())
        with (
            scratch_folder("encode") as scratch,
            require_disk_space(f"part {number} of the latents", num_bytes, scratch, *self._store.local_directories()),
        ):
            for shape, own in encoded.shapes.items():
                path = scratch / shard_name(number, num_parts)
                cards[shape] = encode_shard(path, number, own.tensors, own.labels, num_classes=None)
                self._store.put(path, f"{shape_directory(paths.latents, shape)}/{path.name}")
            part = CaptionedPart(cards, encoded.captions, encoded.num_encoded, encoded.left_out)
            self._store.write(paths.shard_card(number), part.document())

    def _part(self, task: EncodeTask, number: int) -> CaptionedPart:
        place = TaskPaths(task.digest).shard_card(number)
        return read_captioned_part(self._store.read(place), self._store.uri(place))
