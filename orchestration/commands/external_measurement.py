"""Measurement of images from outside as a sweep measures its samples, in this process."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from tqdm import tqdm

from dfm_core.config import ExperimentConfig
from orchestration.artifacts.recorded_errors import corrected_values, intervals_of
from orchestration.artifacts.samples.features import GROUP_IMAGES, Group, LostFeaturesError
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.commands.external_images import ExternalImages
from orchestration.common.errors import UserError
from orchestration.config.runtime import RuntimeConfig
from orchestration.evaluation.jobs import job_of, run_job
from orchestration.evaluation.messages import JobContext
from orchestration.evaluation.sample_batches import SampleBatch, batches
from orchestration.evaluation.worker import Evaluator
from orchestration.storage.store import DamagedArtifactError, Store
from orchestration.tasks.evaluation import images_task
from orchestration.tasks.measurement import MeasurementFiles
from orchestration.tasks.metric_task import MeasurementInputs
from orchestration.tasks.task import ImagesTask, Task


@dataclass(frozen=True)
class MeasuredImages:
    """Values and protocols of measured images, by metric."""

    images: str
    """Path or URL of the images."""
    content: str
    """Digest of their content."""
    dataset: str
    """Dataset that they are compared with."""
    num_images: int
    values: Mapping[str, float]
    standard_errors: Mapping[str, float]
    corrected: Mapping[str, float]
    """Values without their estimated bias, where one is estimated."""
    intervals: Mapping[str, tuple[float, float]]
    """95% intervals of the error of finite samples."""
    real_images: Mapping[str, float]
    """Scores of as many real images of the dataset, or all if it has fewer; without metrics that have none."""
    notes: Mapping[str, list[str]]
    cropped: bool
    """They were resized and cropped as images are in training."""
    protocols: Mapping[str, Mapping[str, Any]]


def measure_images(
    config: ExperimentConfig, images: ExternalImages, runtime: RuntimeConfig, store: Store, place: str
) -> MeasuredImages:
    """Measure images; reference, label probe and the scores of real images are made first if the store lacks them, and
    stay there.

    Args: config: its evaluation names the metrics, and has as many samples as there are images. place: path of the
        images, for the record.
    Raises: UserError if an image, a network's file or a file of statistics cannot be used.
    """
    measures = MeasurementInputs.of(config, MeasurementFiles(runtime.networks, runtime.references))
    task = images_task(config, measures, content_digest(images))
    runtime = replace(runtime, workers=replace(runtime.workers, cpus_per_worker=os.cpu_count() or 1))
    evaluator = Evaluator(
        store.root, store.options, runtime, "", lambda group, size: _batches_of(images, group, size, task.title)
    )
    for needed in (*measures.tasks, task):
        if read_record(store, needed.digest) is None:
            print(f"{needed.kind} {needed.title}", flush=True)
            _run(needed, evaluator, runtime, store)
    result = read_record(store, task.digest)
    assert result is not None, "the task was run"
    real = read_record(store, measures.real_images.digest) if measures.real_images is not None else None
    return _measured(result, task, place, real, cropped=images.cropped)


def content_digest(images: ExternalImages) -> str:
    """Return the identity of images: pixels and labels, not names."""
    digest = hashlib.sha256(str(tuple(images.pixels(range(1)).shape)).encode())
    for begin in range(0, images.count, GROUP_IMAGES):
        digest.update(images.pixels(range(begin, min(begin + GROUP_IMAGES, images.count))).numpy().tobytes())
    if images.labels is not None:
        digest.update(images.labels.numpy().tobytes())
    return digest.hexdigest()[:20]


def _batches_of(images: ExternalImages, group: Group, batch_size: int, title: str) -> Iterator[SampleBatch]:
    labels = images.labels if images.labels is not None else torch.zeros(images.count, dtype=torch.int64)
    for indices in tqdm(list(batches(group, batch_size)), desc=title, leave=False, disable=None):
        rows = slice(indices.start, indices.stop)
        yield SampleBatch(0, indices, labels[rows], images.pixels(indices))


def _run(task: Task, evaluator: Evaluator, runtime: RuntimeConfig, store: Store) -> None:
    failed: list[str] = []
    started = time.monotonic()
    context = JobContext(
        store=store,
        keep_features=runtime.workers.keep_features,
        keep_samples=False,
        clock=lambda: time.monotonic() - started,
        reached=lambda *_: None,
        failed=lambda _, reason: failed.append(reason),
    )
    try:
        try:
            run_job(job_of([task], context), evaluator)
        except LostFeaturesError:  # damaged since: they are removed, and made again
            run_job(job_of([task], context), evaluator)
    except (OSError, ValueError, DamagedArtifactError) as error:
        raise UserError.of(task.title, str(error)) from None
    if failed:
        raise UserError.of(task.title, failed[0])


def _measured(
    result: TaskRecord, task: ImagesTask, place: str, real: TaskRecord | None, *, cropped: bool
) -> MeasuredImages:
    real_metrics = {} if real is None else real.metrics
    errors = {name: result.metrics.get(f"{name}_standard_error") for name in task.protocols}
    return MeasuredImages(
        place,
        task.sources[0].digest,
        task.config.data.dataset,
        task.config.evaluation.num_samples,
        {name: result.metrics[name] for name in task.protocols},
        {name: error for name, error in errors.items() if error is not None},
        corrected_values(result),
        intervals_of(result, list(task.protocols)),
        {name: real_metrics[name] for name in task.protocols if name in real_metrics},
        result.about["notes"],
        cropped,
        result.about["protocols"],
    )
