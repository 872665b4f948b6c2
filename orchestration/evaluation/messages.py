"""What evaluators are told and what they answer; plain values."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfm_core.catalog.feature_networks import FeatureNetworkName
from orchestration.artifacts.features import Group
from orchestration.storage.store import Store
from orchestration.tasks.task import MeasuringTask, Source, Task


@dataclass(frozen=True)
class MissingFeatures:
    """What is missing of one source in one group."""

    task: MeasuringTask
    source: Source
    networks: tuple[FeatureNetworkName, ...]
    grid: bool
    samples: bool
    """Whether the first samples, and all of them, are to be kept as they are."""


@dataclass(frozen=True)
class GroupWork:
    """One group of samples: of real images, or of all points of a family, which are sampled together."""

    group: Group
    wanted: tuple[MissingFeatures, ...]


@dataclass(frozen=True)
class GroupReport:
    """What became of a group."""

    seconds: float
    """That one evaluator was busy with it."""
    network_evaluations: int = 0
    """Of the velocity network: images times evaluations, really made for all points together; guidance counts twice."""
    unsound: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Indices of samples with NaN or infinite values, by task; no features of that task's group are kept."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Why a task's samples could not be measured, by task."""


@dataclass(frozen=True)
class Cost:
    """What a task's features took in this attempt; what was there already took nothing."""

    seconds: float
    """Of evaluators."""
    images: int
    """Samples made or looked at."""
    network_evaluations: float
    """Of the velocity network, images times evaluations."""


@dataclass(frozen=True)
class Call:
    """One call of an evaluator."""

    method: str
    arguments: tuple[Any, ...]
    large: bool = False
    """The method answers (None, result) and the result stays with Ray: the job is sent a reference to it."""
    key: str = ""
    """Calls of equal keys are made once at a time; "": it has no twin."""


Job = Generator[list[Call], list[Any], None]
Reports = list[tuple[GroupWork, GroupReport]]


@dataclass(frozen=True)
class JobContext:
    """What jobs need of the driver."""

    store: Store
    keep_features: bool
    keep_samples: bool
    clock: Callable[[], float]
    """Seconds since the job was submitted."""
    reached: Callable[[Task, int, str], None]
    """Progress: (task, units, part)."""
    failed: Callable[[Task, str], None]
    """A task ends with this reason; the others of its family go on."""
    reports: Reports = field(default_factory=list)
    """Of all attempts at the job, which adds its own."""
