"""Sums over groups of features, from which the statistics of all samples follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.catalog.metrics import CHANGES, CLASS_SCORES, Output, reference_outputs
from dfm_core.config.dataset_card import card_of
from dfm_core.metrics.reference import ReferenceAccumulator
from dfm_core.metrics.scores.accumulator import Batch
from dfm_core.metrics.suite import MetricSuite
from orchestration.artifacts.samples.features import Group
from orchestration.evaluation.feature_files import read_groups, source_files
from orchestration.evaluation.resource_cache import ResourceCache
from orchestration.storage.store import Store
from orchestration.tasks.task import MeasuringTask, MetricTask, ReferenceTask, Source, Task

Statistics = Mapping[Any, Any]
"""Sums over some groups: of metrics a `Partial`, of a reference its accumulator under `REFERENCE`."""
REFERENCE = "reference"


def suite_of(task: Task, source: Source) -> MetricSuite:
    """Return the metrics that are computed of a source."""
    num_classes = card_of(task.config.data).num_classes
    generated = not source.split
    return MetricSuite(source.metrics, task.config.evaluation, source.num_samples, num_classes, generated)


def sum_groups(
    store: Store,
    resources: ResourceCache,
    task: MeasuringTask,
    position: int,
    groups: Sequence[Group],
    device: torch.device,
    *,
    keeps: bool,
) -> Statistics:
    """Return the sums over some groups of the task's source at a position, on the CPU.

    Raises: LostFeaturesError if a group is not in the store as it was written.
    """
    source = task.sources[position]
    files = source_files(store, task, source, keeps=keeps)
    if isinstance(task, ReferenceTask):
        (network,) = source.networks
        reference: ReferenceAccumulator | None = None
        for group, tensors in read_groups(files, groups):
            indices = torch.arange(group.begin, group.end)
            widths = reference_outputs(network, {name: rows.shape for name, rows in tensors[network].items()})
            rows = {name: output_rows(resources, task, Output(network, name), tensors) for name in widths}
            reference = reference or ReferenceAccumulator.empty(widths, source.num_samples, device)
            reference = reference.update({name: Batch(indices, rows[name]) for name in widths})
        assert reference is not None, "no groups were to be gathered"
        return {REFERENCE: reference.to("cpu")}
    suite = suite_of(task, source)
    partial = suite.empty(device)
    for group, tensors in read_groups(files, groups):
        batches = {output: _batch(resources, task, output, group, tensors) for output in suite.outputs}
        partial = suite.update(partial, batches)
    return {key: accumulator.to("cpu") for key, accumulator in partial.items()}


def output_rows(
    resources: ResourceCache, task: Task, output: Output, tensors: Mapping[FeatureNetworkName, Mapping[str, Tensor]]
) -> Tensor:
    """Return one output of a group's samples, [B, D] or [B, frames, D].

    A video has one class, and so one row of scores, and one change less than frames.
    """
    if output.name == CLASS_SCORES:
        assert isinstance(task, MetricTask), "scores of classes are read by metrics alone"
        rows = over_frames(tensors[output.network]["block10"].double())
        return torch.from_numpy(resources.probe(task.probe).scores(rows.numpy()))
    if output.name == CHANGES:
        return tensors[output.network]["block10"].diff(dim=1)
    return tensors[output.network][output.name]


def over_frames(rows: Tensor) -> Tensor:
    """Return a row a sample, [B, D]: of videos, [B, frames, D], the mean over frames.

    A linear probe turns it into the mean of the frames' scores.
    """
    return rows if rows.ndim == 2 else rows.mean(dim=1)


def _batch(
    resources: ResourceCache,
    task: Task,
    output: Output,
    group: Group,
    tensors: Mapping[FeatureNetworkName, Mapping[str, Tensor]],
) -> Batch:
    labels, targets = tensors[output.network]["labels"], None
    if output.name == CLASS_SCORES:
        targets = labels
    elif output.network == "clip":
        targets = resources.text_targets(task.config.data, task.config.evaluation.caption, labels)
    return Batch(torch.arange(group.begin, group.end), output_rows(resources, task, output, tensors), targets)
