"""Where everything lies under the storage root: all paths in one place."""

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
"""What was done on purpose, and where workers were that hung."""
TRAIN_RUNS = "ray-train"
"""What Ray Train writes of its own, while it runs."""


class TaskPaths(NamedTuple):
    """The directories of one task."""

    digest: str

    @property
    def result(self) -> str:
        """The record of the finished task; it exists only when the task is done."""
        return f"{RESULTS}/{self.digest}/result.json"

    def result_file(self, name: str) -> str:
        return f"{RESULTS}/{self.digest}/{name}"

    @property
    def latents(self) -> str:
        """The shards that an encoding makes, and their manifest when all are there."""
        return f"{LATENTS}/{self.digest}"

    def shard_card(self, number: int) -> str:
        """What is known of a shard; written after it, so that an encoding goes on where it was cut off."""
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
    """Where features of samples are kept; see `orchestration.artifacts.features`."""

    source: str
    """Digest of what the samples are."""
    owner: str = ""
    """Digest of the task that alone reads them and removes them at its end; "": they stay, for whoever needs them."""

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
        """All samples, where they were asked for."""
        return f"{self.root}/samples"


def plan_file(sweep: str) -> str:
    return f"{PLANS}/{sweep}.json"


def heartbeat_file(sweep: str) -> str:
    """What the driver that runs the sweep says of it, every few seconds."""
    return f"{STATUS}/{sweep}.json"


def stop_file(sweep: str) -> str:
    """The wish that this driver stops; it names the driver, so that no other takes it for its own."""
    return f"{STATUS}/{sweep}.stop"


def fault_record(name: str) -> str:
    """That a fault on purpose has happened."""
    return f"{FAULTS}/{name.replace(':', '-')}.json"


def stacks_file(digest: str, attempt: str, rank: int) -> str:
    """Where the threads of a worker were when its training hung."""
    return f"{FAULTS}/{digest}/{attempt}-rank-{rank:05d}.txt"


def lease_directory(sweep: str) -> str:
    """The epochs of a sweep's drivers."""
    return f"{LEASES}/{sweep}"


def lease_file(sweep: str, epoch: int) -> str:
    """Who took this epoch; see `orchestration.control.lease`."""
    return f"{lease_directory(sweep)}/epoch-{epoch:09d}.json"


def report_directory(sweep: str) -> str:
    return f"reports/{sweep}"


def source_record(source_digest: str) -> str:
    """Provenance of a source tree, written where git can be asked."""
    return f"provenance/{source_digest}.json"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's or snapshot's directory name."""
    prefix, _, digits = name.partition("-")
    return int(digits) if prefix == "step" and digits.isdigit() else None


SnapshotRef = tuple[str, int]
"""A training's digest and the step of one of its snapshots."""
