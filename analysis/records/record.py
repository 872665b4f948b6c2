"""The record of a task, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.contract.plan_schema import TaskKind
from analysis.records.about import About
from analysis.tracking.run import Run

MEASURING: frozenset[TaskKind] = frozenset({"evaluate", "floor"})
"""Kinds of tasks that say how they measured."""
Status = Literal["done", "running", "failed", "missing"]
Curve = Sequence[tuple[int, float]]
"""(step, value) of the newest attempt at each step, by step; a `MetricHistory` where it was read."""


@dataclass(frozen=True)
class Record:
    """One task: its complete record, else its done run, else its newest."""

    status: Status
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Last value of each metric."""
    curves: Mapping[str, Curve] = field(default_factory=dict)
    """Histories of the losses (`loss`, `loss_...`), trainings only."""
    image: bytes | None = None
    """PNG of the sample grid, or of real images."""
    strips: bytes | None = None
    """Frames of some videos in rows, as PNG; of last evaluations and of real videos."""
    moving: bytes | None = None
    """Grid of the same videos as an animated GIF."""
    about: About = field(default_factory=About)
    """Notes and protocols of the metrics, evaluations and floors only."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None
    warning: str | None = None
    run_id: str = ""
    """MLflow's; "" if there is none."""
    url: str = ""
    """Address of the run's page; "" if MLflow is a database and not a server."""
    path: str = ""
    """Path of the record's file under the storage root; "" if the numbers are MLflow's."""
    notes: tuple[str, ...] = ()
    """Facts that are not as the launcher leaves them: duplicates, deleted runs, tags changed by hand, values that are
    none, differences between record and run."""

    @property
    def source(self) -> str:
        """Place of its numbers: the run's page, else its id, else the record's file; "" if there is none."""
        return self.url or self.run_id or self.path


MISSING = Record("missing")


@dataclass(frozen=True)
class Reading:
    """The records of a plan, and the runs of its experiment."""

    records: dict[str, Record]
    """By digest; a digest nothing was recorded for is absent."""
    notes: tuple[str, ...] = ()
    """Facts about the experiment as a whole that a reader has to know."""
    runs: tuple[Run, ...] = ()
    """All runs of the experiment, deleted ones too."""
    experiment_id: str = ""
    """MLflow's; "" if there is no such experiment."""
    alarm: str = ""
    """Text above everything: where the numbers come from, if MLflow is away."""


def has_history(key: str) -> bool:
    """Return whether a metric of a training is read with its history: losses, and shares of samples by timestep."""
    return key == "loss" or key.startswith(("loss_", "draws_"))
