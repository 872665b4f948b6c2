"""The evaluator: a warm actor that samples snapshots and measures images. Models and feature networks stay loaded.

Its calls are the steps of every measurement: `features` of a group into the store, `gather` a few groups into sums,
`merge` sums, `finish` with the numbers. Each depends on its arguments and the store alone and can be made again, by
another evaluator too: a killed one loses no more than the group it was at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch

from orchestration.artifacts.features import Group
from orchestration.artifacts.learned_pyramid import make_pyramid
from orchestration.artifacts.snapshots import SnapshotLoader
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.storage import StorageConfig
from orchestration.config.workers import WorkersConfig
from orchestration.control.progress_board import find_progress_board
from orchestration.data.file_cache import FileCache
from orchestration.evaluation.encoding import Shard, ShardEncoder, ShardReport
from orchestration.evaluation.feature_files import feature_paths
from orchestration.evaluation.finalize import ResultWriter
from orchestration.evaluation.group_writer import GroupWriter
from orchestration.evaluation.messages import Cost, GroupReport, GroupWork
from orchestration.evaluation.partial_statistics import PartialStatistics, merge_statistics, sum_groups
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.evaluation.sample_batches import SampleBatch, generated_samples, real_samples
from orchestration.storage.store import Store
from orchestration.tasks.task import (
    EXTERNAL,
    EncodeTask,
    EvaluateTask,
    MeasuringTask,
    PyramidTask,
    ReferenceTask,
    Source,
)


class Evaluator:
    """See the module."""

    def __init__(
        self,
        store_root: str,
        store_options: Mapping[str, str],
        runtime: RuntimeConfig,
        board: str,
        outside: Callable[[Group, int], Iterator[SampleBatch]] | None = None,
    ) -> None:
        """Args: board: name of the one to tell of progress; "": nobody is told, and no Ray is needed. outside: (group,
        batch size) -> the images of a source that is neither generated nor of a dataset."""
        workers: WorkersConfig = runtime.workers
        torch.set_num_threads(workers.cpus_per_worker)
        # TF32 would give a GPU's evaluators other features than a CPU's, under one digest.
        torch.backends.cudnn.allow_tf32 = False
        self._store = Store(store_root, store_options, runtime.storage.retry_policy)
        self._board, self._batch_size = find_progress_board(board) if board else None, workers.evaluation_batch_size
        self._device = torch.device("cuda" if workers.gpus_per_evaluator > 0 else "cpu")
        self._snapshots = SnapshotLoader(self._store, self._device)
        self._resources = ResourceCache(
            self._store,
            runtime,
            self._device,
            FileCache(storage=StorageConfig(store_root, dict(store_options))),
        )
        self._outside = outside
        self._encoder = ShardEncoder(self._store, runtime, self._device, self._resources.autoencoder)
        self._keeps, self._references = workers.keep_features, runtime.references
        self._results = ResultWriter(self._store, self._resources, self._device, keep_features=self._keeps)

    def ready(self) -> None:
        """Returns when the evaluator can work."""

    def features(self, work: GroupWork) -> GroupReport:
        """Puts what is missing of a group into the store.

        Raises: ValueError if a feature network's file is not what was named, before anything is sampled.
        """
        started, group = time.monotonic(), work.group
        for network in dict.fromkeys(name for wanted in work.wanted for name in wanted.networks):
            self._resources.network(network)
        writers = [
            GroupWriter(self._store, wanted, group, feature_paths(wanted.task, wanted.source, keeps=self._keeps))
            for wanted in work.wanted
        ]
        evaluations = 0
        for batch in self._samples(work):
            writer = writers[batch.point]
            evaluations += batch.network_evaluations * len(batch.indices)
            writer.add(batch, self._resources.features)
            done = batch.indices.stop - group.begin
            self._reached(writer.wanted.task, done, _part(writer.wanted.source, group))
        for writer in writers:
            writer.write()
        return GroupReport(
            seconds=time.monotonic() - started,
            network_evaluations=evaluations,
            unsound={writer.wanted.task.digest: tuple(writer.unsound) for writer in writers if writer.unsound},
            errors={writer.wanted.task.digest: writer.error for writer in writers if writer.error},
        )

    def gather(self, task: MeasuringTask, position: int, groups: Sequence[Group]) -> tuple[None, PartialStatistics]:
        """Sums over some groups of the task's source at a position; None comes first, so that the driver can see the
        end without being sent them."""
        return None, sum_groups(self._store, self._resources, task, position, groups, self._device, keeps=self._keeps)

    def merge(self, first: PartialStatistics, second: PartialStatistics) -> tuple[None, PartialStatistics]:
        """Sums over both's groups, answered as those of `gather`."""
        return None, merge_statistics(first, second)

    def finish(
        self, task: MeasuringTask, about: Mapping[str, Any], seconds: float, spent: Cost, *gathered: PartialStatistics
    ) -> None:
        """Numbers and record of a task.

        Args: about: for the record. seconds: the task took so far. spent: on features. gathered: one for each source.
        """
        self._results.finish(task, about, seconds, spent, gathered)

    def import_reference(self, task: ReferenceTask) -> None:
        """The statistics of a file that somebody else made, and their record."""
        dataset, network = task.config.data.dataset, task.payload["network"]
        self._results.import_reference(task, self._references[dataset][network])

    def num_parts(self, task: EncodeTask) -> int:
        """Shards that an encoding makes. Raises: ValueError if its dataset is not the planned one."""
        return self._encoder.num_parts(task)

    def encode(self, task: EncodeTask, part: Shard) -> ShardReport:
        """A shard of latents into the store. Raises: as `Encoder.encode`."""
        report = self._encoder.encode(task, part, self._batch_size)
        self._reached(task, task.num_samples // part.num_parts, f"part {part.number}")
        return report

    def finish_encoding(self, task: EncodeTask, num_parts: int, seconds: float, spent: float) -> None:
        """The store of latents and its record. Raises: as `Encoder.finish`."""
        self._encoder.finish(task, num_parts, seconds, spent)

    def fit_pyramid(self, task: PyramidTask) -> None:
        """Makes the weights of a learned decomposition."""
        make_pyramid(self._store, task.digest, task.config, lambda steps: self._reached(task, steps))

    def _reached(self, task: EncodeTask | MeasuringTask | PyramidTask, done: int, part: str = "") -> None:
        if self._board is not None:
            self._board.reached.remote(task.digest, done, part)

    def _samples(self, work: GroupWork) -> Iterator[SampleBatch]:
        first = work.wanted[0]
        if first.source.split == EXTERNAL:
            assert self._outside is not None, "images from outside are measured where they are"
            return self._outside(work.group, self._batch_size)
        if first.source.split:
            real = self._resources.real(first.task.config.data, first.source.split)
            return real_samples(real, work.group, self._batch_size)
        tasks = [wanted.task for wanted in work.wanted if isinstance(wanted.task, EvaluateTask)]
        decode = self._resources.decoder(first.task.config.data)
        return generated_samples(tasks, work.group, self._batch_size, self._snapshots, self._device, decode)


def _part(source: Source, group: Group) -> str:
    """The name under which a group's progress counts once, whoever works on it and however often."""
    return f"{source.digest}/{group.begin}"
