"""The features of a task's sources in the store: their place, and reading them group by group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from dfm_core.catalog.feature_networks import FeatureNetworkName
from orchestration.artifacts.samples.features import Group, GroupFiles
from orchestration.storage.layout import FeaturePaths
from orchestration.storage.store import Store
from orchestration.tasks.task import Source, Task


def feature_paths(task: Task, source: Source, *, keeps: bool) -> FeaturePaths:
    """Return the place of a source's features: shared by all tasks if they are kept, else of this task alone."""
    return FeaturePaths(source.digest, "" if keeps else task.digest)


def source_files(store: Store, task: Task, source: Source, *, keeps: bool) -> dict[FeatureNetworkName, GroupFiles]:
    """Return the groups of each network's features of a source."""
    paths = feature_paths(task, source, keeps=keeps)
    return {name: GroupFiles(store, paths.network(name, digest)) for name, digest in source.networks.items()}


def read_groups(
    files: Mapping[FeatureNetworkName, GroupFiles], groups: Sequence[Group]
) -> Iterator[tuple[Group, dict[FeatureNetworkName, dict[str, Tensor]]]]:
    """Yield all networks' tensors, group by group."""
    readers = {name: one.read(groups) for name, one in files.items()}
    for group in groups:
        yield group, {name: next(reader)[1] for name, reader in readers.items()}
