"""The groups of samples that still have to be made: a source's groups less those that the store holds."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from dfm_core.catalog.feature_networks import FeatureNetworkName
from orchestration.artifacts.samples.features import Group, GroupFiles, groups_of
from orchestration.evaluation.feature_files import feature_paths, source_files
from orchestration.evaluation.messages import GroupWork, JobContext, MissingFeatures
from orchestration.evaluation.sample_grids import GRID_IMAGES
from orchestration.tasks.task import EvaluateTask, MeasuringTask, Source


def missing_work(points: Sequence[tuple[MeasuringTask, Source]], context: JobContext) -> list[GroupWork]:
    """Return the groups in which something is missing; the others are reported as done."""
    stored = [_StoredGroups.of(task, source, context) for task, source in points]
    works = []
    for group in groups_of(points[0][1].num_samples):
        lacking = [one.missing_in(group) for one in stored]
        for (task, source), one in zip(points, lacking, strict=True):
            if one is None:
                context.reached(task, group.num_samples, f"{source.digest}/{group.begin}")
        if missing := tuple(one for one in lacking if one is not None):
            works.append(GroupWork(group, missing))
    return works


@dataclass(frozen=True)
class _StoredGroups:
    """The groups of one source that the store holds."""

    task: MeasuringTask
    source: Source
    networks: Mapping[FeatureNetworkName, Container[Group]]
    grid: Container[Group] | None
    """None: no grid is asked for."""
    samples: Container[Group] | None
    """None: all samples are not asked for."""

    @classmethod
    def of(cls, task: MeasuringTask, source: Source, context: JobContext) -> _StoredGroups:
        files = source_files(context.store, task, source, keeps=context.keep_features)
        paths = feature_paths(task, source, keeps=context.keep_features)
        shown = isinstance(task, EvaluateTask)
        return cls(
            task,
            source,
            {network: one.stored() for network, one in files.items()},
            GroupFiles(context.store, paths.grid).stored() if shown else None,
            GroupFiles(context.store, paths.samples).stored() if shown and context.keep_samples else None,
        )

    def missing_in(self, group: Group) -> MissingFeatures | None:
        """Return what a group lacks; None if nothing."""
        networks = tuple(name for name, groups in self.networks.items() if group not in groups)
        shown = Group(0, min(GRID_IMAGES, group.end))
        grid = group.begin == 0 and self.grid is not None and shown not in self.grid
        samples = self.samples is not None and group not in self.samples
        if not (networks or grid or samples):
            return None
        return MissingFeatures(self.task, self.source, networks, grid, samples)
