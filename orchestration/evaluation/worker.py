"""The evaluator: a warm actor that samples snapshots and measures images, with models and networks kept loaded.

Its calls are the steps of every measurement: `features` of a group into the store, `gather` a few groups into sums,
`merge` sums, `finish` with the numbers. Each depends on its arguments and the store alone and can be made again, by
another evaluator too: a killed one loses no more than the group it was at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from dfm_core.metrics.suite import MetricSuite
from orchestration.artifacts.learned_pyramid import make_pyramid
from orchestration.artifacts.samples.features import Group
from orchestration.artifacts.snapshot_loader import SnapshotLoader
from orchestration.cluster.address import reach_nodes_directly
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.control.progress_board import find_progress_board
from orchestration.data.file_cache import FileCache
from orchestration.encoding.caption_encoder import CaptionEncoder
from orchestration.encoding.captioned_encoder import CaptionedEncoder
from orchestration.encoding.part_encoder import PartEncoder
from orchestration.encoding.shard_encoder import ShardEncoder
from orchestration.evaluation.feature_files import feature_paths
from orchestration.evaluation.group_writer import GroupWriter
from orchestration.evaluation.messages import Cost, GroupReport, GroupWork
from orchestration.evaluation.partial_statistics import Statistics, sum_groups
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.evaluation.result_writer import ResultWriter
from orchestration.evaluation.sample_batches import SampleBatch, generated_samples, real_samples
from orchestration.startup.full_precision import multiply_in_fp32
from orchestration.storage.store import Store
from orchestration.tasks.task import (
    EXTERNAL,
    EncodeTask,
    EvaluateTask,
    MeasuringTask,
    MetricTask,
    PyramidTask,
    ReferenceTask,
    Source,
)


class Evaluator:
    """Samples, encodes and measures; see the module."""

    def __init__(
        self,
        store_root: str,
        store_options: Mapping[str, str],
        runtime: RuntimeConfig,
        progress_board: str,
        outside: Callable[[Group, int], Iterator[SampleBatch]] | None = None,
    ) -> None:
        """Args: progress_board: its name; "": progress is not reported, and no Ray is needed. outside: function (group,
        batch size) -> the images of a source that is neither generated nor of a dataset."""
        if progress_board:
            reach_nodes_directly()
        workers: WorkersConfig = runtime.workers
        torch.set_num_threads(workers.cpus_per_worker)
        # TF32 would give a GPU's evaluators other features than a CPU's, under one digest.
        torch.backends.cudnn.allow_tf32 = False
        multiply_in_fp32()
        self._store = Store(store_root, store_options, runtime.storage.retry_policy)
        self._progress_board = find_progress_board(progress_board) if progress_board else None
        self._batch_size = workers.evaluation_batch_size
        self._device = torch.device("cuda" if workers.gpus_per_evaluator > 0 else "cpu")
        on_gpu = self._device.type == "cuda"
        self._snapshots = SnapshotLoader(
            self._store,
            self._device,
            lambda model: workers.compiles(on_gpu=on_gpu, has_one_graph=model.has_one_graph),
        )
        self._resources = ResourceCache(
            self._store,
            runtime,
            self._device,
            FileCache(storage=StorageConfig(store_root, dict(store_options))),
        )
        self._outside = outside
        self._encoder = ShardEncoder(self._store, runtime, self._device, self._resources.autoencoder)
        self._captioned = CaptionedEncoder(self._store, runtime, self._device, self._resources.autoencoder)
        self._captions = CaptionEncoder(self._store, self._resources.text_encoders)
        self._keeps, self._references = workers.keep_features, runtime.references
        self._results = ResultWriter(self._store, self._resources, self._device, keep_features=self._keeps)

    def ready(self) -> None:
        """Return when the evaluator can work."""

    def features(self, work: GroupWork) -> GroupReport:
        """Write the missing features of a group into the store.

        Raises: ValueError if a feature network's file is not the named one, before anything is sampled.
        """
        started, group = time.monotonic(), work.group
        for network in dict.fromkeys(name for missing in work.missing for name in missing.networks):
            self._resources.network(network)
        writers = [
            GroupWriter(self._store, missing, group, feature_paths(missing.task, missing.source, keeps=self._keeps))
            for missing in work.missing
        ]
        evaluations = 0
        for batch in self._samples(work):
            writer = writers[batch.point]
            evaluations += batch.network_evaluations * len(batch.indices)
            writer.add(batch, self._resources.features)
            done = batch.indices.stop - group.begin
            self._reached(writer.missing.task, done, _part(writer.missing.source, group))
        for writer in writers:
            writer.write()
        return GroupReport(
            seconds=time.monotonic() - started,
            network_evaluations=evaluations,
            unsound={writer.missing.task.digest: tuple(writer.unsound) for writer in writers if writer.unsound},
            errors={writer.missing.task.digest: writer.error for writer in writers if writer.error},
        )

    def gather(self, task: MeasuringTask, position: int, groups: Sequence[Group]) -> tuple[None, Statistics]:
        """Return the sums over some groups of the task's source at a position.

        None comes first, so that the driver sees the end without receiving them.
        """
        return None, sum_groups(self._store, self._resources, task, position, groups, self._device, keeps=self._keeps)

    def merge(self, first: Statistics, second: Statistics) -> tuple[None, Statistics]:
        """Return the sums over the groups of both, as `gather` does."""
        return None, MetricSuite.merge(first, second)

    def finish(
        self, task: MeasuringTask, about: Mapping[str, Any], seconds: float, cost: Cost, *statistics: Statistics
    ) -> None:
        """Compute the numbers of a task and write its record.

        Args: about: part of the record. seconds: duration of the task so far. cost: that of its features.
            statistics: one for each source, none for a probe.
        """
        self._results.finish(task, about, seconds, cost, statistics)

    def finish_errors(self, task: MetricTask, *statistics: Statistics) -> None:
        """Put errors into the record of a finished task. Args, Raises: as `ResultWriter.finish_errors`."""
        self._results.finish_errors(task, statistics)

    def import_reference(self, task: ReferenceTask) -> None:
        """Import the statistics of a file from elsewhere, and write their record."""
        dataset, network = task.config.data.dataset, task.payload["network"]
        self._results.import_reference(task, self._references[dataset][network])

    def num_parts(self, task: EncodeTask) -> int:
        """Return how many shards an encoding makes. Raises: ValueError if its dataset is not the planned one."""
        return self._encoder_of(task).num_parts(task)

    def encode(self, task: EncodeTask, number: int, num_parts: int) -> float:
        """Encode a shard of latents into the store. Returns its seconds. Raises: as `PartEncoder.encode`."""
        seconds = self._encoder_of(task).encode(task, number, num_parts, self._batch_size)
        self._reached(task, task.num_samples // num_parts, f"part {number}")
        return seconds

    def finish_encoding(self, task: EncodeTask, num_parts: int, seconds: float, accelerator_seconds: float) -> None:
        """Publish the store of latents and its record. Raises: as `PartEncoder.finish`."""
        self._encoder_of(task).finish(task, num_parts, seconds, accelerator_seconds)

    def _encoder_of(self, task: EncodeTask) -> PartEncoder:
        match task.payload["kind"]:
            case "encode_captioned":
                return self._captioned
            case "encode_text":
                return self._captions
            case _:
                return self._encoder

    def fit_pyramid(self, task: PyramidTask) -> None:
        """Fit the weights of a learned decomposition."""
        make_pyramid(self._store, task.digest, task.config, lambda steps: self._reached(task, steps))

    def _reached(self, task: EncodeTask | MeasuringTask | PyramidTask, done: int, part: str = "") -> None:
        if self._progress_board is not None:
            self._progress_board.reached.remote(task.digest, done, part)

    def _samples(self, work: GroupWork) -> Iterator[SampleBatch]:
        first = work.missing[0]
        if first.source.split == EXTERNAL:
            assert self._outside is not None, "images from outside are measured where they are"
            return self._outside(work.group, self._batch_size)
        if first.source.split:
            real = self._resources.real(first.task.config.data, first.source.split)
            return real_samples(real, work.group, self._batch_size)
        tasks = [missing.task for missing in work.missing if isinstance(missing.task, EvaluateTask)]
        decode = self._resources.decoder(first.task.config.data)
        conditions = self._resources.conditions(first.task.config)
        return generated_samples(tasks, work.group, self._batch_size, self._snapshots, self._device, decode, conditions)


def _part(source: Source, group: Group) -> str:
    """Return the name under which a group's progress counts once, whatever evaluators work on it."""
    return f"{source.digest}/{group.begin}"
