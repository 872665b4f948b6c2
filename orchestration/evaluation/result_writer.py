"""The results of measuring tasks: numbers, grids and records, written to the store."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from analysis.contract.metric_errors import ERRORS
from analysis.contract.record_schema import standard_error_of
from dfm_core.catalog.feature_networks import FEATURE_NETWORKS
from dfm_core.catalog.metrics import MetricName, Output
from dfm_core.compute import model_cost, num_evaluations, sampling_flops
from dfm_core.config.dataset_card import card_of
from dfm_core.metrics.imported_statistics import read_statistics
from dfm_core.metrics.reference import Reference
from dfm_core.metrics.scores.accumulator import Batch, Score
from dfm_core.metrics.scores.feature_store import FeatureStore
from dfm_core.metrics.scores.probe import fit_linear_probe
from orchestration.artifacts.recorded_errors import errors_of_scores
from orchestration.artifacts.samples.features import Group, GroupFiles, groups_of
from orchestration.artifacts.samples.real_images import RealSamples
from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, checksum, read_record, write_record
from orchestration.config.files import FileConfig
from orchestration.evaluation.feature_files import feature_paths, read_groups, source_files
from orchestration.evaluation.group_writer import on_white
from orchestration.evaluation.messages import Cost
from orchestration.evaluation.partial_statistics import REFERENCE, Statistics, output_rows, over_frames, suite_of
from orchestration.evaluation.resource_cache import PROBE_FILE, REFERENCE_FILE, ResourceCache
from orchestration.evaluation.sample_batches import batches
from orchestration.evaluation.sample_grids import GRID_IMAGES, grid_png, moving_grid_gif, strips_png
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.measurement import IMPORTED_OUTPUTS
from orchestration.tasks.task import EvaluateTask, MeasuringTask, MetricTask, ProbeTask, ReferenceTask, Source, Task

SAMPLES, REAL = "samples", "real"
"""Names of grids: `.png`; for videos, of which it shows the middle frame, also `.gif` and `_strips.png`."""
_SAME_VALUE = 1e-6
"""Tolerance, absolute and relative, of a number that is computed again, perhaps on another machine."""


class ResultWriter:
    """Writes the results of tasks. Args of the methods: see `Evaluator.finish`."""

    def __init__(self, store: Store, resources: ResourceCache, device: torch.device, *, keep_features: bool) -> None:
        self._store, self._resources, self._device, self._keeps = store, resources, device, keep_features

    def finish(
        self,
        task: MeasuringTask,
        about: Mapping[str, Any],
        seconds: float,
        cost: Cost,
        statistics: Sequence[Statistics],
    ) -> None:
        """Publish the task's record, then remove its features unless they are kept."""
        match task:
            case ReferenceTask():
                result = self._reference(task, statistics)
            case ProbeTask():
                result = self._probe(task)
            case MetricTask():
                result = self._measurement(task, statistics, cost)
            case _:
                raise TypeError(f"{task.kind} measures nothing")
        metrics = {**result.metrics, COST_METRIC: cost.seconds}
        write_record(
            self._store,
            replace(result, metrics=metrics, seconds=seconds, step=task.step, about={**about, **result.about}),
        )
        if not self._keeps:
            for source in task.sources:
                self._store.remove(feature_paths(task, source, keeps=False).root)

    def finish_errors(self, task: MetricTask, statistics: Sequence[Statistics]) -> None:
        """Put errors into the record of a finished task; nothing else of it changes.

        Args: statistics: of its stored features, one for each source.
        Raises: ValueError if these give other numbers than the record has.
        """
        record = read_record(self._store, task.digest)
        assert record is not None, "only finished tasks have a record"
        scores = self._all_scores(task, statistics)
        for name, score in scores.items():
            recorded = record.metrics[name]
            if not math.isclose(score.value, recorded, rel_tol=_SAME_VALUE, abs_tol=_SAME_VALUE):
                raise ValueError(f"stored features give {name} {score.value:.6g}, its record has {recorded:.6g}")
        write_record(self._store, replace(record, about={**record.about, ERRORS: errors_of_scores(scores)}))

    def import_reference(self, task: ReferenceTask, file: FileConfig) -> None:
        """Publish the statistics of a file as a reference."""
        started, (network, output) = time.monotonic(), IMPORTED_OUTPUTS[task.payload["network"]]
        content = self._resources.content(file)
        width = FEATURE_NETWORKS[network].outputs[output]
        statistics = read_statistics(content, Path(file.path).name, network, width)
        about = self._write_arrays(task, REFERENCE_FILE, Reference({output: statistics}).arrays())
        about |= {"imported_sha256": file.sha256.lower()}
        seconds = time.monotonic() - started
        metrics = {COST_METRIC: seconds}
        write_record(self._store, TaskRecord(task.digest, task.kind, metrics, seconds, about=about))

    def _reference(self, task: ReferenceTask, statistics: Sequence[Statistics]) -> TaskRecord:
        (sums,) = statistics
        about = self._write_arrays(task, REFERENCE_FILE, sums[REFERENCE].compute().arrays())
        (source,) = task.sources
        real = self._resources.real(task.config.data, source.split)
        files = self._write_grids(task, REAL, *_first(real, min(GRID_IMAGES, source.num_samples)))
        return _result(task, {}, files, about)

    def _probe(self, task: ProbeTask) -> TaskRecord:
        (source,) = task.sources
        rows, labels = [], []
        for _, tensors in self._read(task, source):
            rows.append(over_frames(tensors["lite0"]["block10"].double()))
            labels.append(tensors["lite0"]["labels"])
        num_classes = card_of(task.config.data).num_classes
        probe = fit_linear_probe(torch.cat(rows).numpy(), torch.cat(labels).numpy(), num_classes)
        return _result(task, {}, (), self._write_arrays(task, PROBE_FILE, vars(probe)))

    def _measurement(self, task: MetricTask, statistics: Sequence[Statistics], cost: Cost) -> TaskRecord:
        scores = self._all_scores(task, statistics)
        metrics: dict[str, float] = {}
        for name, score in sorted(scores.items()):
            metrics[name] = score.value
            if score.error is not None:
                metrics[standard_error_of(name)] = score.error.standard_error
            if score.spread is not None:
                metrics[f"{name}_spread"] = score.spread
        about = {
            "notes": self._notes(task, scores),
            "protocols": {name: asdict(protocol) for name, protocol in task.protocols.items()},
            ERRORS: errors_of_scores(scores),
        }
        if not isinstance(task, EvaluateTask):
            return _result(task, metrics, (), about)
        (source,) = task.sources
        shown = min(GRID_IMAGES, source.num_samples)
        grid = GroupFiles(self._store, feature_paths(task, source, keeps=self._keeps).grid)
        ((_, tensors),) = grid.read([Group(0, shown)])
        files = self._write_grids(task, SAMPLES, tensors["pixels"], tensors["labels"])
        model = model_cost(task.config, card_of(task.config.data).shape)
        costs = {
            "network_evaluations": cost.network_evaluations,
            "num_evaluations": float(num_evaluations(task.config)),
            "num_samples": float(source.num_samples),
            "sampling_flops": float(sampling_flops(task.config, model, source.num_samples)),
        }
        if cost.images:  # by one evaluator
            costs["images_per_second"] = cost.images / max(cost.seconds, 1e-9)
        return _result(task, {**metrics, **costs}, files, about)

    def _notes(self, task: MetricTask, scores: Mapping[MetricName, Score]) -> dict[str, list[str]]:
        """Return what has to be said of numbers, by metric."""
        notes: dict[str, list[str]] = {name: list(score.notes) for name, score in sorted(scores.items()) if score.notes}
        if task.config.data.sides and "clip_similarity" in scores:
            cut, count = self._resources.num_cut_captions(task.config.data)
            if cut:
                told = f"{cut:,} of {count:,} captions were cut at CLIP's 77 tokens"
                notes.setdefault("clip_similarity", []).append(told)
        return notes

    def _all_scores(self, task: MetricTask, statistics: Sequence[Statistics]) -> dict[MetricName, Score]:
        scores: dict[MetricName, Score] = {}
        for source, sums in zip(task.sources, statistics, strict=True):
            scores |= self._scores(task, source, sums)
        return scores

    def _scores(self, task: MetricTask, source: Source, statistics: Statistics) -> dict[MetricName, Score]:
        suite = suite_of(task, source)
        kept: dict[Output, FeatureStore] = {output: FeatureStore.empty(self._device) for output in suite.stored_outputs}
        if kept:
            for group, tensors in self._read(task, source):
                indices = torch.arange(group.begin, group.end)
                for output, features in kept.items():
                    rows = output_rows(self._resources, task, output, tensors)
                    kept[output] = features.update(Batch(indices, rows))
        references = {network: self._resources.reference(digest) for network, digest in task.references.items()}
        for key, accumulator in statistics.items():
            frames = accumulator.count // source.num_samples
            assert accumulator.count == frames * source.num_samples > 0, f"{key}: {accumulator.count} were counted"
        return suite.compute(statistics, kept, references)

    def _read(self, task: Task, source: Source) -> Any:
        files = source_files(self._store, task, source, keeps=self._keeps)
        return read_groups(files, groups_of(source.num_samples))

    def _write_arrays(self, task: Task, name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)  # type: ignore[arg-type]
        self._store.write(TaskPaths(task.digest).result_file(name), buffer.getvalue())
        return checksum(name, buffer.getvalue())

    def _write_grids(self, task: Task, name: str, pixels: Tensor, labels: Tensor) -> tuple[str, ...]:
        """Write the grids for people. Returns the names of the files."""
        classes = self._resources.label_names(task.config.data, labels[: len(pixels)])
        pictures = {f"{name}.png": grid_png(pixels.numpy(), classes)}
        if pixels.ndim == 5:
            pictures[f"{name}.gif"] = moving_grid_gif(pixels.numpy(), classes)
            pictures[f"{name}_strips.png"] = strips_png(pixels.numpy(), classes)
        for file, content in pictures.items():
            self._store.write(TaskPaths(task.digest).result_file(file), content)
        return tuple(pictures)


def _first(real: RealSamples, count: int) -> tuple[Tensor, Tensor]:
    """Return pixels and labels of the first images; those of several shapes on white."""
    parts = [real.read(indices) for indices in batches(Group(0, count), count, real.borders)]
    return on_white([pixels for pixels, _ in parts]), torch.cat([labels for _, labels in parts])


def _result(task: Task, metrics: Mapping[str, float], files: tuple[str, ...], about: Mapping[str, Any]) -> TaskRecord:
    return TaskRecord(task.digest, task.kind, metrics, 0.0, files=files, about=about)
