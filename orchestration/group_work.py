"""What evaluators are told and what they answer; plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfm_core.metrics.features.cards import FeatureNetworkName
from orchestration.feature_store import Group
from orchestration.tasks import Source, Task


@dataclass(frozen=True)
class Wanted:
    """What is missing of one source in one group."""

    task: Task
    source: Source
    networks: tuple[FeatureNetworkName, ...]
    grid: bool
    samples: bool
    """Whether the first samples, and all of them, are to be kept as they are."""


@dataclass(frozen=True)
class GroupWork:
    """One group of samples: of real images, or of all points of a family, which are sampled together."""

    group: Group
    wanted: tuple[Wanted, ...]


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
class Spent:
    """What a task's features took in this attempt; what was there already took nothing."""

    seconds: float
    """Of evaluators."""
    images: int
    """Samples made or looked at."""
    network_evaluations: float
    """Of the velocity network, images times evaluations."""
