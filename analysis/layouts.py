"""The join of a plan with its records, and the cells of the tables. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.intervals import half_width
from analysis.plan_file import Metric, Part, PlanFile, Trial
from analysis.records import MISSING, Record

CellStatus = Literal["done", "running", "failed", "missing", "not planned"]
_WORST_FIRST: tuple[CellStatus, ...] = ("failed", "running", "missing", "not planned", "done")
_EQUAL_COMPUTE_PERCENT = 1
"""Training FLOPs of a part's rows that differ by no more than this count as equal."""


@dataclass(frozen=True)
class Measurement:
    """One metric of one trial at one step: a line of table.csv."""

    part: str
    row: str
    seed: int
    step: int
    metric: str
    better: str
    value: float | None
    """None unless the status is done."""
    status: CellStatus
    digest: str
    training_flops: int
    training_images: int


@dataclass(frozen=True)
class Cell:
    """A metric over the seeds of a row, at its last evaluation."""

    status: CellStatus
    """done as soon as one seed is."""
    mean: float | None = None
    half_width: float | None = None
    """Of the 95% t-interval; None for a single value."""
    num_values: int = 0
    num_seeds: int = 0
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A row of a part: what it cost and what it reached."""

    label: str
    cells: tuple[Cell, ...]
    """One per metric of the plan."""
    step: int
    training_flops: int
    num_evaluations: int


@dataclass(frozen=True)
class Floor:
    """What real images score, measured as the samples of a part are."""

    label: str
    values: tuple[Cell, ...]


@dataclass(frozen=True)
class Section:
    """One part of the table, filled in."""

    part: Part
    rows: tuple[Row, ...]
    floors: tuple[Floor, ...]

    @property
    def compute_spread(self) -> float:
        """By how much the most expensive training exceeds the cheapest, as a share of it; inf beside an untrained row.

        Trainings count up to their last evaluations.
        """
        least, most = self._flops_range()
        if most == least:
            return 0.0
        return (most - least) / least if least else math.inf

    @property
    def unequal_compute(self) -> bool:
        """Whether the rows were trained at different compute, so that a better one may owe it to that."""
        least, most = self._flops_range()
        return 100 * (most - least) > _EQUAL_COMPUTE_PERCENT * least

    def _flops_range(self) -> tuple[int, int]:
        flops = [row.training_flops for row in self.rows]
        return min(flops, default=0), max(flops, default=0)


def measure(plan: PlanFile, records: Mapping[str, Record]) -> tuple[Measurement, ...]:
    """All planned measurements in the plan's order, whatever became of them."""
    trials = (trial for part in plan.parts for row in part.rows for trial in plan.trials_of(part.name, row))
    return tuple(found for trial in trials for found in _measure_trial(plan, trial, records))


def _measure_trial(plan: PlanFile, trial: Trial, records: Mapping[str, Record]) -> Iterator[Measurement]:
    for step, digest in trial.evaluations:
        task, record = plan.evaluations[digest], records.get(digest, MISSING)
        for metric in plan.metrics:
            status: CellStatus = record.status
            if task.metrics is not None and metric.name not in task.metrics:
                status = "not planned"
            elif status == "done" and metric.name not in record.metrics:
                status = "missing"
            yield Measurement(
                trial.part,
                trial.row,
                trial.seed,
                step,
                metric.name,
                metric.better,
                record.metrics[metric.name] if status == "done" else None,
                status,
                digest,
                task.training_flops,
                task.training_images,
            )


def lay_out(plan: PlanFile, measurements: Sequence[Measurement], records: Mapping[str, Record]) -> tuple[Section, ...]:
    """The sections of the table, one per part, best cells marked."""
    return tuple(
        Section(part, _mark_best(plan.metrics, _rows(plan, part, measurements)), _floors(plan, part, records))
        for part in plan.parts
    )


def _rows(plan: PlanFile, part: Part, measurements: Sequence[Measurement]) -> list[Row]:
    rows = []
    for label in part.rows:
        trials = plan.trials_of(part.name, label)
        last_step, last_digest = trials[0].evaluations[-1]
        last = [m for m in measurements if (m.part, m.row, m.step) == (part.name, label, last_step)]
        cells = [aggregate([m for m in last if m.metric == metric.name]) for metric in plan.metrics]
        task = plan.evaluations[last_digest]
        rows.append(Row(label, tuple(cells), last_step, task.training_flops, task.num_evaluations))
    return rows


def aggregate(measurements: Sequence[Measurement]) -> Cell:
    """The mean over the seeds that are done; if none is, the worst that happened to one."""
    values = [m.value for m in measurements if m.value is not None]
    if not values:
        found = {m.status for m in measurements}
        worst: CellStatus = next((status for status in _WORST_FIRST if status in found), "missing")
        return Cell(worst, num_seeds=len(measurements))
    return Cell("done", mean(values), half_width(values), len(values), len(measurements))


def mean(values: Sequence[float]) -> float:
    """Mean of values, [N]; NaN if one is, or if infinities cancel."""
    return float(sum(values) / len(values))


def _mark_best(metrics: Sequence[Metric], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Mark the best finite mean of each metric, ties included; none where all are alike or only one row has a value."""
    best: list[float | None] = []
    for index, metric in enumerate(metrics):
        means = {cell.mean for cell in (row.cells[index] for row in rows) if _is_finite(cell.mean)}
        choose = min if metric.better == "lower" else max
        best.append(choose(value for value in means if value is not None) if len(means) > 1 else None)
    return tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, best=target is not None and cell.mean == target)
                for cell, target in zip(row.cells, best, strict=True)
            ),
        )
        for row in rows
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _floors(plan: PlanFile, part: Part, records: Mapping[str, Record]) -> tuple[Floor, ...]:
    """One row of real images for each reference that the part's last evaluations were measured against."""
    trials = [trial for row in part.rows for trial in plan.trials_of(part.name, row)]
    digests = list(dict.fromkeys(plan.evaluations[trial.evaluations[-1][1]].reference for trial in trials))
    floors = []
    for digest in digests:
        label = "real images" if len(digests) == 1 else f"real images ({plan.references[digest].title})"
        cells = [floor_cell(metric, records.get(digest, MISSING)) for metric in plan.metrics]
        floors.append(Floor(label, tuple(cells)))
    return tuple(floors)


def floor_cell(metric: Metric, reference: Record) -> Cell:
    """What real images score on a metric."""
    if metric.floor is None:
        return Cell("not planned")
    value = reference.metrics.get(metric.floor)
    if reference.status != "done" or value is None:
        return Cell("missing" if reference.status == "done" else reference.status)
    return Cell("done", value, num_values=1, num_seeds=1)
