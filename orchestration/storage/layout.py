"""The layout of the storage root: all its paths."""

from __future__ import annotations

from typing import NamedTuple

AUTOENCODERS = "autoencoders"
CHECKPOINTS = "checkpoints"
DATABASE = "mlflow.db"
SEARCHES = "search.db"
MLFLOW_ARTIFACTS = "mlflow-artifacts"
PLANS = "plans"
RESULTS = "results"
SNAPSHOTS = "snapshots"
FEATURES = "features"
LATENTS = "latents"
STATUS = "status"
LEASES = "leases"
FAULTS = "faults"
"""Records of injected faults, and stacks of workers that hung."""
TUNE_RUNS = "ray-tune"
"""Files of the Ray Tune callbacks that searches name."""
TRAIN_RUNS = "ray-train"
"""Files that Ray Train itself writes while it runs."""
REPORTS = "reports"
PROVENANCE = "provenance"
FOLDERS = (
    AUTOENCODERS,
    CHECKPOINTS,
    MLFLOW_ARTIFACTS,
    PLANS,
    RESULTS,
    SNAPSHOTS,
    FEATURES,
    LATENTS,
    STATUS,
    LEASES,
    FAULTS,
    TUNE_RUNS,
    TRAIN_RUNS,
    REPORTS,
    PROVENANCE,
)
"""All folders under the root."""


class TaskPaths(NamedTuple):
    """The directories of one task."""

    digest: str

    @property
    def result(self) -> str:
        """The record of the finished task; it exists only when the task is done."""
        return f"{RESULTS}/{self.digest}/result.json"

    @property
    def imported(self) -> str:
        """A note that the record was made elsewhere, so that the task's artifacts are not here."""
        return f"{RESULTS}/{self.digest}/imported.json"

    def result_file(self, name: str) -> str:
        return f"{RESULTS}/{self.digest}/{name}"

    @property
    def latents(self) -> str:
        """The shards that an encoding makes, and their manifest when all are there."""
        return f"{LATENTS}/{self.digest}"

    def shard_card(self, number: int) -> str:
        """Description of a shard; written after it, so that an encoding resumes where it was cut off."""
        return f"{LATENTS}/{self.digest}/cards/{number:05d}.json"

    @property
    def autoencoder(self) -> str:
        """The files of an autoencoder that was trained here; an artifact."""
        return f"{AUTOENCODERS}/{self.digest}"

    @property
    def checkpoints(self) -> str:
        return f"{CHECKPOINTS}/{self.digest}"

    def checkpoint(self, step: int) -> str:
        return f"{self.checkpoints}/step-{step:09d}"

    @property
    def snapshots(self) -> str:
        return f"{SNAPSHOTS}/{self.digest}"

    def snapshot(self, step: int) -> str:
        return f"{self.snapshots}/step-{step:09d}"

    def raw_weights(self, step: int) -> str:
        """The optimiser's own weights beside the snapshot's averaged ones; an artifact of its own."""
        return f"{self.snapshots}/raw-{step:09d}"


class FeaturePaths(NamedTuple):
    """The directories of a source's features; see `orchestration.artifacts.samples.features`."""

    source: str
    """Digest of the samples' identity."""
    owner: str = ""
    """Digest of the only task that reads them, and removes them at its end; "": they stay and are shared."""

    @property
    def root(self) -> str:
        return f"{FEATURES}/{self.source}" + (f"/of-{self.owner}" if self.owner else "")

    def network(self, name: str, digest: str) -> str:
        """Groups of one network with one set of weights."""
        return f"{self.root}/{name}-{digest}"

    @property
    def grid(self) -> str:
        """The first samples, for people to look at."""
        return f"{self.root}/grid"

    @property
    def samples(self) -> str:
        """All samples, if they were asked for."""
        return f"{self.root}/samples"


def plan_file(sweep: str) -> str:
    return f"{PLANS}/{sweep}.json"


def heartbeat_file(sweep: str) -> str:
    """Status of a running sweep, written by its driver every few seconds."""
    return f"{STATUS}/{sweep}.json"


def lost_file(sweep: str) -> str:
    """Name of the last driver whose loss was told, so that it is told once."""
    return f"{STATUS}/{sweep}.lost"


def stop_file(sweep: str) -> str:
    """Request that a driver stops; it names the driver, so that no other obeys it."""
    return f"{STATUS}/{sweep}.stop"


def stacks_file(digest: str, attempt: str, rank: int) -> str:
    """Stacks of a worker's threads when its training hung."""
    return f"{FAULTS}/{digest}/{attempt}-rank-{rank:05d}.txt"


def lease_directory(sweep: str) -> str:
    """The epochs of a sweep's drivers."""
    return f"{LEASES}/{sweep}"


def lease_file(sweep: str, epoch: int) -> str:
    """Owner of an epoch; see `orchestration.control.lease`."""
    return f"{lease_directory(sweep)}/epoch-{epoch:09d}.json"


def report_directory(sweep: str) -> str:
    return f"{REPORTS}/{sweep}"


def source_record(source_digest: str) -> str:
    """Provenance of a source tree, written where git can be asked."""
    return f"{PROVENANCE}/{source_digest}.json"


def step_of(name: str) -> int | None:
    """Return the step in a checkpoint's or snapshot's directory name; None for other names."""
    prefix, _, digits = name.partition("-")
    return int(digits) if prefix == "step" and digits.isdigit() else None


SnapshotRef = tuple[str, int]
"""A training's digest and the step of one of its snapshots."""
