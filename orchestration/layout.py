"""Where everything lies under the storage root: all paths in one place."""

from __future__ import annotations

from typing import NamedTuple

CHECKPOINTS = "checkpoints"
DATABASE = "mlflow.db"
MLFLOW_ARTIFACTS = "mlflow-artifacts"


class TaskPaths(NamedTuple):
    """The directories of one task."""

    digest: str

    @property
    def result(self) -> str:
        """The record of the finished task; it exists only when the task is done."""
        return f"results/{self.digest}/result.json"

    def result_file(self, name: str) -> str:
        return f"results/{self.digest}/{name}"

    @property
    def checkpoints(self) -> str:
        return f"{CHECKPOINTS}/{self.digest}"

    def checkpoint(self, step: int) -> str:
        return f"{self.checkpoints}/step-{step:09d}"

    @property
    def snapshots(self) -> str:
        return f"snapshots/{self.digest}"

    def snapshot(self, step: int) -> str:
        return f"{self.snapshots}/step-{step:09d}"


def plan_file(sweep: str) -> str:
    return f"plans/{sweep}.json"


def report_directory(sweep: str) -> str:
    return f"reports/{sweep}"


def source_record(source_digest: str) -> str:
    """Provenance of a source tree, written where git can be asked."""
    return f"provenance/{source_digest}.json"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's or snapshot's directory name."""
    prefix, _, digits = name.partition("-")
    return int(digits) if prefix == "step" and digits.isdigit() else None
