"""The work of an `encode` task on an evaluator: parts of a dataset into shards of latents, and the store at the end."""

from __future__ import annotations

import csv
import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.config import DataConfig
from dfm_core.data.catalog import DATASETS
from dfm_core.data.encoding.assembly import (
    EncodedPart,
    ShardCard,
    StoreIdentity,
    assemble,
    encode_shard,
    read_part,
    shard_name,
)
from dfm_core.data.encoding.embedded_samples import EmbeddedSamples
from dfm_core.data.encoding.encode import EncodedUnits, EncodingSpec, encode_units
from dfm_core.data.encoding.left_out import LeftOut
from dfm_core.data.files.folder_report import BadFile, UnusableFolderError
from dfm_core.data.files.raw_samples import RawDataset
from dfm_core.data.latents.manifest import LatentManifest
from orchestration.artifacts.latents import publish_latents
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, write_record
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.identity import PIXELS, is_embedded, pixels_digest
from orchestration.data.user_files import open_raw
from orchestration.storage.disk_space import require_disk_space
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EncodeTask

LEFT_OUT = "left_out.csv"
_MOST_TOLD = 100


@dataclass(frozen=True)
class Shard:
    """One shard of an encoding."""

    number: int
    num_parts: int


@dataclass(frozen=True)
class ShardReport:
    """What became of a part."""

    seconds: float
    left_out: tuple[BadFile, ...]


@contextmanager
def _in_one_line() -> Iterator[None]:
    """A task's failure is told in one line. Raises: ValueError for what a dataset's report says in many."""
    try:
        yield
    except (UnusableFolderError, ValueError) as error:
        raise ValueError(" | ".join(line.strip() for line in str(error).splitlines())) from None


def _copies(task: EncodeTask) -> int:
    """Samples that a file becomes."""
    return 2 if task.payload["mirrored"] else 1


class ShardEncoder:
    """Keeps the listing of the dataset that it encoded last."""

    def __init__(
        self,
        store: Store,
        runtime: RuntimeConfig,
        device: torch.device,
        autoencoder: Callable[[DataConfig], Autoencoder],
    ) -> None:
        """Args: autoencoder: of a data section; pixels where it names none."""
        self._store, self._runtime, self._device, self._autoencoder = store, runtime, device, autoencoder
        self._open: tuple[str, RawDataset] | None = None

    def num_parts(self, task: EncodeTask) -> int:
        """Raises: ValueError if the dataset is another one than was planned with; what its files do."""
        return -(-len(self._dataset(task).units) // self._units_per_part(task))

    def encode(self, task: EncodeTask, part: Shard, batch_samples: int) -> ShardReport:
        """Writes a shard and its card.

        Raises: as `num_parts`; ValueError for what the autoencoder cannot take; DiskFullError.
        """
        started, dataset, data = time.monotonic(), self._dataset(task), task.config.data
        size = self._units_per_part(task)
        units = dataset.units[part.number * size : (part.number + 1) * size]
        autoencoder = self._autoencoder(replace(data, autoencoder="") if task.payload["encoder"] == PIXELS else data)
        if autoencoder.identity != task.payload["encoder"]:
            raise ValueError(f"autoencoders.{data.autoencoder}: its files have changed since the sweep was planned")
        mirrored = bool(task.payload["mirrored"])
        spec = EncodingSpec(self._side(task), data.frames or None, data.stride, mirrored)
        made = encode_units(dataset, units, autoencoder, spec, batch_samples=batch_samples, device=self._device)
        with _in_one_line():
            LeftOut(self._place(task), self._max_bad_share(task), task.num_samples).add(made.left_out)
        self._write(task, part, dataset, made)
        return ShardReport(time.monotonic() - started, made.left_out)

    def finish(self, task: EncodeTask, num_parts: int, seconds: float, spent: float) -> None:
        """Publishes the store and the task's record.

        Raises: UnusableFolderError if more was left out than is allowed; ValueError if a class is
            empty or a part is missing.
        """
        parts = [self._part(task, number) for number in range(num_parts)]
        bad = [*self._dataset(task).left_out, *(one for part in parts for one in part.left_out)]
        num_lost = self._num_lost(task, [part.card for part in parts], bad)
        manifest = self._manifest(task, [part.card for part in parts], bad, num_lost)
        publish_latents(self._store, TaskPaths(task.digest).latents, manifest)
        self._write_left_out(task, bad)
        metrics = {
            "num_samples": float(manifest.num_samples),
            "num_left_out": float(len(bad) + num_lost),
            "num_bytes": float(manifest.num_bytes),
            COST_METRIC: spent,
        }
        told = [str(one) for one in bad[:_MOST_TOLD]]
        if num_lost:
            told.append(f"{num_lost} more samples, which damaged shards should have held")
        about = {
            "class_counts": list(manifest.class_counts),
            "statistics": {name: asdict(found) for name, found in manifest.statistics.items()},
            "left_out": told,
        }
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds, files=(LEFT_OUT,), about=about))

    def _write(self, task: EncodeTask, part: Shard, dataset: RawDataset, made: EncodedUnits) -> None:
        paths, card = TaskPaths(task.digest), ShardCard(part.number, made.num_left_out)
        num_bytes, what = sum(tensor.nbytes for tensor in made.tensors.values()), f"part {part.number} of the latents"
        with (
            tempfile.TemporaryDirectory(prefix="dfm-encode-") as scratch,
            require_disk_space(what, num_bytes, Path(scratch), *self._store.local_directories()),
        ):
            if len(made.labels):
                path = Path(scratch) / shard_name(part.number, part.num_parts)
                card = encode_shard(
                    path,
                    part.number,
                    made.tensors,
                    made.labels,
                    num_classes=len(dataset.class_names),
                    num_left_out=made.num_left_out,
                )
                self._store.put(path, f"{paths.latents}/{path.name}")
            self._store.write(paths.shard_card(part.number), EncodedPart(card, made.left_out).document())

    def _part(self, task: EncodeTask, number: int) -> EncodedPart:
        place = TaskPaths(task.digest).shard_card(number)
        return read_part(self._store.read(place), self._store.uri(place))

    def _num_lost(self, task: EncodeTask, cards: Sequence[ShardCard], bad: Sequence[BadFile]) -> int:
        """Samples of shards of images that the user counts and no shard gives, flips not counted.

        Raises: ValueError if no damaged shard explains them, or there are more than the user counts.
        """
        if not self._is_of_image_shards(task):
            return 0
        there = sum(card.num_left_out + sum(card.class_counts) for card in cards) // _copies(task)
        lost = task.num_samples - there
        if lost < 0 or (lost and not any(one.holds_many for one in bad)):
            key = self._key_of_count(task)
            raise ValueError(
                f"{key} says {task.num_samples} samples, and the shards at {self._place(task)} hold {there}: give "
                f"{there}, or see which shard is not the right one; what is encoded is kept"
            )
        return lost

    def _manifest(
        self, task: EncodeTask, cards: Sequence[ShardCard], bad: Sequence[BadFile], num_lost: int
    ) -> LatentManifest:
        """Raises: as `finish`."""
        copies, class_names = _copies(task), self._dataset(task).class_names
        class_counts = [sum(counts) for counts in zip(*(c.class_counts for c in cards if c.class_counts), strict=True)]
        left_out = LeftOut(self._place(task), self._max_bad_share(task))
        left_out.bad += bad
        with _in_one_line():
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

    def _write_left_out(self, task: EncodeTask, bad: Sequence[BadFile]) -> None:
        text = io.StringIO()
        rows = csv.writer(text)
        rows.writerow(("file", "fault", "reason"))
        rows.writerows((one.file, one.fault, one.reason) for one in bad)
        self._store.write(TaskPaths(task.digest).result_file(LEFT_OUT), text.getvalue().encode())

    def _dataset(self, task: EncodeTask) -> RawDataset:
        if self._open is None or self._open[0] != task.digest:
            data = task.config.data
            if is_embedded(data):
                found: RawDataset = EmbeddedSamples(data.dataset, task.payload["fingerprint"])
            else:
                found = open_raw(
                    self._runtime.datasets[data.dataset],
                    self._runtime.storage,
                    reference=self._is_reference(task),
                    clips=bool(data.frames),
                )
            if found.fingerprint != task.payload["fingerprint"]:
                raise ValueError(f"datasets.{data.dataset}: its files have changed since the sweep was planned")
            self._open = task.digest, found
        return self._open[1]

    def _is_reference(self, task: EncodeTask) -> bool:
        return task.digest == pixels_digest(task.config.data)

    def _units_per_part(self, task: EncodeTask) -> int:
        return 1 if self._is_of_image_shards(task) else int(task.payload["samples_per_shard"])

    def _is_of_image_shards(self, task: EncodeTask) -> bool:
        data = task.config.data
        return not is_embedded(data) and self._runtime.datasets[data.dataset].layout == "image_shards"

    def _key_of_count(self, task: EncodeTask) -> str:
        """Where the user says how many samples there are."""
        name = task.config.data.dataset
        is_apart = self._is_reference(task) and self._runtime.datasets[name].reference is not None
        return f"datasets.{name}.{'num_reference' if is_apart else 'num_samples'}"

    def _side(self, task: EncodeTask) -> int:
        data = task.config.data
        return DATASETS[data.dataset].resolution if is_embedded(data) else data.side

    def _max_bad_share(self, task: EncodeTask) -> float:
        data = task.config.data
        if is_embedded(data) or self._is_reference(task):
            return 0.0
        return self._runtime.datasets[data.dataset].max_bad_share

    def _place(self, task: EncodeTask) -> str:
        data = task.config.data
        if is_embedded(data):
            return data.dataset
        return self._runtime.datasets[data.dataset].place(reference=self._is_reference(task))
