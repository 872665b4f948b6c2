"""Requests to evaluators and their answers: plain values."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dfm_core.catalog.feature_networks import FeatureNetworkName
from orchestration.artifacts.samples.features import Group
from orchestration.storage.store import Store
from orchestration.tasks.task import MeasuringTask, Source, Task


@dataclass(frozen=True)
class MissingFeatures:
    """The features, grid and samples of one source that a group lacks."""

    task: MeasuringTask
    source: Source
    networks: tuple[FeatureNetworkName, ...]
    grid: bool
    samples: bool
    """True if the pixels of the first samples (`grid`), or of all, are asked for."""


@dataclass(frozen=True)
class GroupWork:
    """One group of samples: of real images, or of all points of a family, which are sampled together."""

    group: Group
    missing: tuple[MissingFeatures, ...]


@dataclass(frozen=True)
class GroupReport:
    """Outcome of a group."""

    seconds: float
    """Time that one evaluator was busy with it."""
    network_evaluations: int = 0
    """Evaluations of the velocity network times images, for all points together; guidance counts twice."""
    unsound: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Indices of samples with NaN or infinite values, by task; no features of that task's group are kept."""
    errors: Mapping[str, str] = field(default_factory=dict)
    """Reasons why samples could not be measured, by task."""


@dataclass(frozen=True)
class Cost:
    """Cost of a task's features in this attempt; those that existed before cost nothing."""

    seconds: float
    """Seconds of evaluators."""
    images: int
    """Samples generated or read."""
    network_evaluations: float
    """Evaluations of the velocity network times images."""


@dataclass(frozen=True)
class Call:
    """One call of an evaluator."""

    method: str
    arguments: tuple[Any, ...]
    large: bool = False
    """True if the method answers (None, result) and the result stays with Ray: the job is sent a reference to it."""
    key: str = ""
    """Calls with equal keys are made once at a time; "": the call is unique."""


Job = Generator[list[Call], list[Any], None]
Reports = list[tuple[GroupWork, GroupReport]]


@dataclass(frozen=True)
class JobContext:
    """The services of the driver that jobs need."""

    store: Store
    keep_features: bool
    keep_samples: bool
    clock: Callable[[], float]
    """Seconds since the job was submitted."""
    reached: Callable[[Task, int, str], None]
    """Progress: (task, units, part)."""
    failed: Callable[[Task, str], None]
    """Failure: (task, reason); the others of its family go on."""
    reports: Reports = field(default_factory=list)
    """Reports of all attempts at the job, which adds its own."""
