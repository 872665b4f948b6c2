"""A snapshot of random weights, and measurements of it on one evaluator in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from dfm_core.catalog.metrics import MetricName
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.training.piece_index import RAW_WEIGHTS
from dfm_core.training.state import SnapshotCard, build_model, write_snapshot_files
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.config.runtime import RuntimeConfig
from orchestration.config.workers import WorkersConfig
from orchestration.evaluation.jobs import job_of, run_job
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import FileEntry, Store
from orchestration.tasks.evaluation import evaluate_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import MeasuringTask, RealImagesTask, Source, Task
from tests.support.models import with_values

TRAIN, STEP = "a-training-of-no-sweep", 7
NO_FILES = MeasurementFiles({}, {})
SMALL: dict[str, Any] = {
    "model.size": "nano",
    "model.patch_sizes": (2, 4),
    "sampling.steps": (3, 2),
    "evaluation.num_samples": 300,
    "evaluation.metrics": ("fd_lite0_block10",),
    "evaluation.bootstrap_replicates": 20,
    "evaluation.kernel_subsets": 3,
    "evaluation.kernel_subset_size": 40,
}
WORKERS = WorkersConfig(cpus_per_worker=1, evaluation_batch_size=50)


def small_config(**values: Any) -> ExperimentConfig:
    """Names with two underscores in the place of a dot."""
    changed = {key.replace("__", "."): value for key, value in values.items()}
    return with_values(ExperimentConfig(), {**SMALL, **changed})


def publish_snapshot(store: Store, config: ExperimentConfig, *, raw: bool = False) -> None:
    """Weights that no training made: every parameter random, so that all of them show in the samples."""
    shape, stages = card_of(config.data).shape, config.num_stages
    model = build_model(config, shape, (1.0,) * stages)
    for number, directory in enumerate(
        [TaskPaths(TRAIN).snapshot(STEP), TaskPaths(TRAIN).raw_weights(STEP)][: 1 + raw]
    ):
        generator = torch.Generator().manual_seed(number)
        weights = {name: 0.05 * torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}
        with TemporaryDirectory() as scratch:
            card = SnapshotCard(STEP, shape, (1.0,) * stages)
            files = write_snapshot_files(weights, config, card, Path(scratch), None)
            if number == 1:
                files = [files[0].rename(files[0].with_name(RAW_WEIGHTS))]
            for path in files:
                store.put(path, f"{directory}/{path.name}")
            store.publish(directory, [FileEntry.of(path) for path in files])


def evaluation_of(config: ExperimentConfig, title: str = "samples") -> Task:
    return evaluate_task(config, title, STEP, ((TRAIN, STEP),), MeasurementInputs.of(config, NO_FILES))


def with_points(config: ExperimentConfig, points: Sequence[dict[str, Any]]) -> list[Task]:
    """Evaluations of one snapshot at several sampling settings."""
    return [evaluation_of(with_values(config, point), str(point)) for point in points]


class Bench:
    """An evaluator in this process, and what a driver would do."""

    def __init__(self, store: Store, workers: WorkersConfig = WORKERS, runtime: RuntimeConfig | None = None) -> None:
        self.store, self.workers = store, workers
        runtime = replace(runtime or RuntimeConfig(), workers=workers)
        self.evaluator = Evaluator(store.root, store.options, runtime, "")
        self.failed: dict[str, str] = {}
        self.progress: dict[str, dict[str, int]] = {}

    def run(self, *tasks: Task) -> list[TaskRecord | None]:
        """A family to its end. Returns its records; None for those that failed."""
        context = JobContext(
            store=self.store,
            keep_features=self.workers.keep_features,
            keep_samples=self.workers.keep_samples,
            clock=lambda: 1.0,
            reached=lambda task, done, part: self.progress.setdefault(task.digest, {}).update({part: done}),
            failed=lambda task, reason: self.failed.update({task.digest: reason}),
        )
        run_job(job_of(tasks, context), self.evaluator)
        return [read_record(self.store, task.digest) for task in tasks]

    def prepare(self, config: ExperimentConfig, num_images: int = 500) -> None:
        """References and probe of a config, from the first images alone: the others would add time and nothing else."""
        for task in MeasurementInputs.of(config, NO_FILES).tasks:
            if not isinstance(task, RealImagesTask) and read_record(self.store, task.digest) is None:
                self.run(first_images(task, num_images))


def metric(result: TaskRecord | None, name: MetricName) -> float:
    assert result is not None, "it failed"
    return result.metrics[name]


def first_images(task: MeasuringTask, num_images: int) -> MeasuringTask:
    """The same task on the first images of its sources."""
    sources: tuple[Source, ...] = tuple(replace(source, num_samples=num_images) for source in task.sources)
    return replace(task, sources=sources)
