"""The tasks of a plan: what is computed, under which digest, from what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.config import (
    ExperimentConfig,
    MetricName,
)
from dfm_core.metrics.protocol import Protocol
from orchestration.data.autoencoder_recipe import AutoencoderRecipe
from orchestration.storage.layout import SnapshotRef

TaskKind = Literal[
    "finetune_autoencoder", "encode", "reference", "probe", "floor", "pyramid", "train", "evaluate", "images"
]
TRAININGS: tuple[TaskKind, ...] = ("train", "finetune_autoencoder")
"""Kinds of tasks that run on training workers."""
EXTERNAL = "outside"
"""Split of images that no sweep made and no dataset holds."""


@dataclass(frozen=True)
class Source:
    """Samples that are measured: generated ones, or a split of real images."""

    digest: str
    num_samples: int
    networks: Mapping[FeatureNetworkName, str]
    """Feature networks that look at them, each with the digest of its weights and preprocessing."""
    split: str = ""
    """Of the real images; "": generated; `EXTERNAL`: neither."""
    metrics: tuple[MetricName, ...] = ()
    """What is computed of these samples."""


@dataclass(frozen=True)
class Task:
    """One digest of work. `payload` holds exactly what can change its result; nothing else may be read from it."""

    kind: TaskKind
    digest: str
    title: str
    payload: dict[str, Any]
    inputs: tuple[str, ...]
    """Digests of the tasks whose results it reads."""
    config: ExperimentConfig
    """A config that resolves to `payload`; the halves that the payload leaves out are arbitrary."""
    flops: int
    num_bytes: int
    """Estimate of what it leaves in the store."""
    until_step: int = 0
    """train: last step wanted. Grows when a sweep asks for more; the trajectory, and so the digest, stays."""
    snapshot_steps: tuple[int, ...] = ()
    """train: steps whose averaged weights are kept."""
    initial: SnapshotRef | None = None
    """train: the snapshot whose weights it starts from; None: from initial weights."""
    snapshots: tuple[SnapshotRef, ...] = ()
    """evaluate: what it samples from; experts have one for each stage."""
    at_step: int = 0
    """evaluate: training steps that lie behind its snapshots."""
    raw_steps: tuple[int, ...] = ()
    """train: steps whose weights are kept as they are, beside their average."""
    sources: tuple[Source, ...] = ()
    """reference, probe, floor, evaluate: what is measured."""
    references: Mapping[FeatureNetworkName, str] = field(default_factory=dict)
    """floor, evaluate: digests of the reference tasks, by network."""
    probe: str = ""
    """floor, evaluate: digest of the label probe's task; "" if no metric reads it."""
    floor: str = ""
    """evaluate: digest of the task that measures real images the same way; "" if there is none."""
    making: AutoencoderRecipe | None = None
    """finetune_autoencoder: what is made."""
    num_samples: int = 0
    """encode: of the dataset, flips not counted."""
    protocols: Mapping[MetricName, Protocol] = field(default_factory=dict)
    """floor, evaluate: what travels with each number."""

    @property
    def pyramid(self) -> str:
        """Digest of the task that fits its learned decomposition; "" if it has none."""
        return str(self.payload.get("pyramid", ""))

    @property
    def latents(self) -> str:
        """train: digest of the task that made the latents which it reads; "" if it reads images."""
        reads = self.kind in TRAININGS
        return str(self.payload["data"].get("latents", "")) if reads else ""


def total_units(task: Task) -> int:
    """Units that the progress of a task counts: steps of a training, images of the others."""
    if task.kind in TRAININGS:
        return task.until_step
    if task.kind == "pyramid":
        return task.config.decomposition.fit.steps
    if task.kind == "encode":
        return task.num_samples
    return max(1, sum(source.num_samples for source in task.sources))
