"""One class for each kind of task: what is computed, under which digest, from what."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.catalog.metrics import MetricName
from dfm_core.config import ExperimentConfig
from dfm_core.metrics.protocol import Protocol
from orchestration.config.datasets import TextEncodersConfig
from orchestration.data.autoencoder_recipe import AutoencoderRecipe
from orchestration.data.identity import stored_texts_digest
from orchestration.storage.layout import SnapshotRef, TaskPaths

TaskKind = Literal[
    "finetune_autoencoder", "encode", "reference", "probe", "floor", "pyramid", "train", "evaluate", "images"
]
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
    """Split of the real images; "": generated; `EXTERNAL`: neither."""
    metrics: tuple[MetricName, ...] = ()
    """Metrics computed of these samples."""


@dataclass(frozen=True)
class Task(ABC):
    """One digest of work. `payload` holds exactly what can change its result; nothing else may be read from it."""

    kind: ClassVar[TaskKind]
    unit: ClassVar[str] = "images"
    """Unit that its progress counts."""

    digest: str
    title: str
    payload: dict[str, Any]
    inputs: tuple[str, ...]
    """Digests of the tasks whose results it reads."""
    config: ExperimentConfig
    """A config that resolves to `payload`; the halves that the payload leaves out are arbitrary."""
    num_bytes: int
    """Estimate of what it leaves in the store."""

    @property
    @abstractmethod
    def total_units(self) -> int:
        """Units of work from begin to end."""

    @property
    def step(self) -> int:
        """Training step to which its result belongs; 0: to none."""
        return 0

    @property
    def artifacts(self) -> tuple[str, ...]:
        """Directories that must be published, beside the record, when it is done."""
        return ()

    @property
    def demand(self) -> tuple[object, ...]:
        """Demands that may grow without changing the digest: last step and snapshot steps of a training."""
        return ()


@dataclass(frozen=True)
class TrainingTask(Task):
    """A task that runs on training workers."""

    unit: ClassVar[str] = "steps"

    until_step: int
    """Last step wanted. Grows when a sweep asks for more; the trajectory, and so the digest, stays."""

    @property
    def total_units(self) -> int:
        return self.until_step

    @property
    def step(self) -> int:
        return self.until_step

    @property
    def latents(self) -> str:
        """Digest of the task that made the latents which it reads; "" if it reads images."""
        return str(self.payload["data"].get("latents", ""))

    @property
    def texts(self) -> str:
        """Digest of the task that stored the captions of its images; "" if their labels are classes."""
        return stored_texts_digest(self.config.data) if "texts" in self.payload["data"] else ""


@dataclass(frozen=True)
class FinetuneAutoencoderTask(TrainingTask):
    """Training of an autoencoder, from random weights or given ones."""

    kind: ClassVar[TaskKind] = "finetune_autoencoder"

    recipe: AutoencoderRecipe

    @property
    def artifacts(self) -> tuple[str, ...]:
        return (TaskPaths(self.digest).autoencoder,)


@dataclass(frozen=True)
class TrainTask(TrainingTask):
    """One training trajectory of a generative model."""

    kind: ClassVar[TaskKind] = "train"

    flops: int
    snapshot_steps: tuple[int, ...]
    """Steps whose averaged weights are kept."""
    initial: SnapshotRef | None = None
    """Snapshot whose weights it starts from; None: from initial weights."""
    raw_steps: tuple[int, ...] = ()
    """Steps whose weights are kept as they are, beside their average."""
    start_files: str = ""
    """Place of the user's files of the backbone that it starts from; "": there are none."""
    continued: SnapshotRef | None = None
    """Training, and its last step, whose whole state it takes over; its own steps are those after it."""
    encoders: TextEncodersConfig | None = None
    """Encoders of captions that run in its workers; None: their encodings are stored."""

    @property
    def start_step(self) -> int:
        """Number of steps before its first one."""
        return self.continued[1] if self.continued is not None else 0

    @property
    def num_steps(self) -> int:
        """Number of its own steps."""
        return self.until_step - self.start_step

    @property
    def pyramid(self) -> str:
        """Digest of the task that fits its learned decomposition; "" if it has none."""
        return str(self.payload.get("pyramid", ""))

    @property
    def made_inputs(self) -> set[str]:
        """Digests of the tasks that make what it reads of its data; "" among them for what it does not read."""
        return {self.pyramid, self.latents, self.texts}

    @property
    def snapshot_directories(self) -> dict[tuple[int, bool], str]:
        """(step, raw weights) of each wanted snapshot -> its directory."""
        paths = TaskPaths(self.digest)
        averaged = {(step, False): paths.snapshot(step) for step in self.snapshot_steps}
        return averaged | {(step, True): paths.raw_weights(step) for step in self.raw_steps}

    @property
    def artifacts(self) -> tuple[str, ...]:
        return tuple(self.snapshot_directories.values())

    @property
    def demand(self) -> tuple[object, ...]:
        return self.until_step, self.snapshot_steps, self.raw_steps


@dataclass(frozen=True)
class EncodeTask(Task):
    """Latents made out of files, or real images kept as pixels."""

    kind: ClassVar[TaskKind] = "encode"
    unit: ClassVar[str] = "samples"

    num_samples: int
    """Samples of the dataset, flips not counted."""

    @property
    def total_units(self) -> int:
        return self.num_samples


@dataclass(frozen=True)
class PyramidTask(Task):
    """Fit of a learned decomposition to the training images."""

    kind: ClassVar[TaskKind] = "pyramid"
    unit: ClassVar[str] = "steps"

    @property
    def total_units(self) -> int:
        return self.config.decomposition.fit.steps


@dataclass(frozen=True)
class MeasuringTask(Task):
    """A task that reads features of images."""

    sources: tuple[Source, ...]
    """Samples that are measured."""

    @property
    def total_units(self) -> int:
        return max(1, sum(source.num_samples for source in self.sources))


@dataclass(frozen=True)
class ReferenceTask(MeasuringTask):
    """Statistics of real images on one network; it has no source if a file of statistics is imported."""

    kind: ClassVar[TaskKind] = "reference"


@dataclass(frozen=True)
class ProbeTask(MeasuringTask):
    """Linear probe of the classes, fitted on features of the training images."""

    kind: ClassVar[TaskKind] = "probe"


@dataclass(frozen=True)
class MetricTask(MeasuringTask):
    """A task that computes metrics of its sources."""

    references: Mapping[FeatureNetworkName, str]
    """Digests of the reference tasks, by network."""
    probe: str
    """Digest of the label probe's task; "" if no metric reads it."""
    protocols: Mapping[MetricName, Protocol]
    """Protocol that travels with each number."""


@dataclass(frozen=True)
class RealImagesTask(MetricTask):
    """Real images, measured as samples are."""

    kind: ClassVar[TaskKind] = "floor"


@dataclass(frozen=True)
class ImagesTask(MetricTask):
    """Images that no sweep made, measured as samples are."""

    kind: ClassVar[TaskKind] = "images"


@dataclass(frozen=True)
class EvaluateTask(MetricTask):
    """One sampling setting on one snapshot, or on one for each stage, measured."""

    kind: ClassVar[TaskKind] = "evaluate"

    flops: int = 0
    snapshots: tuple[SnapshotRef, ...] = ()
    """Snapshots that it samples from; experts have one for each stage."""
    at_step: int = 0
    """Training steps that lie behind its snapshots."""
    real_images: str = ""
    """Digest of the task that measures real images the same way; "" if there is none."""

    @property
    def step(self) -> int:
        return self.at_step
