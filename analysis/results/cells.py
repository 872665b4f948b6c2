"""The sections of the table and their cells, from what was measured. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.plan.model import FloorTask, Metric, Part, PublishedPlan
from analysis.plan.protocol import ProtocolPair
from analysis.records.record import MISSING, Record
from analysis.results.comparability import Comparability, floor_comparability, rows_comparability
from analysis.results.intervals import Basis, SeedValue, uncertainty_of_mean
from analysis.results.measurements import CellStatus, Measurement, protocols_of, standard_error
from analysis.results.real_image_titles import real_image_titles
from analysis.results.run_links import RunLink, run_links
from analysis.results.significance import Separation, separation_of

_WORST_FIRST: tuple[CellStatus, ...] = ("failed", "running", "missing", "not planned", "done")
_EQUAL_COMPUTE_PERCENT = 1
"""Training FLOPs of a part's rows that differ by no more than this count as equal."""


@dataclass(frozen=True)
class Cell:
    """A metric over the seeds of a row, at its last evaluation."""

    status: CellStatus
    """done as soon as one seed is."""
    mean: float | None = None
    half_width: float | None = None
    """Of the 95% interval of the mean; None if nothing tells it."""
    num_values: int = 0
    num_seeds: int = 0
    best: bool = False
    protocols: tuple[ProtocolPair, ...] = ()
    """How it was measured, for each seed."""
    values: tuple[SeedValue, ...] = ()
    """Of the seeds that are done."""
    basis: Basis | None = None
    """What the interval is of."""
    digests: tuple[str, ...] = ()
    """Of the evaluate tasks, for each seed: where the number comes from."""
    unfinished: CellStatus | None = None
    """Beside a mean: the worst that happened to the seeds that are not in it."""

    @property
    def finite(self) -> bool:
        """Whether it has a mean that can be ranked."""
        return self.mean is not None and math.isfinite(self.mean)


@dataclass(frozen=True)
class Row:
    """A row of a part: what it cost and what it reached."""

    label: str
    cells: tuple[Cell, ...]
    """One per metric of the plan."""
    step: int
    training_flops: int
    num_evaluations: int
    runs: tuple[RunLink, ...] = ()
    """Where its numbers come from, for each seed."""


@dataclass(frozen=True)
class RealImageRow:
    """What real images score, measured as the samples of a part are."""

    label: str
    values: tuple[Cell, ...]
    comparability: tuple[Comparability, ...] = ()
    """With the rows, one per metric of the plan."""
    runs: tuple[RunLink, ...] = ()
    """Where its numbers come from."""


@dataclass(frozen=True)
class Section:
    """One part of the table, filled in."""

    part: Part
    rows: tuple[Row, ...]
    floors: tuple[RealImageRow, ...]
    comparability: tuple[Comparability, ...]
    """Of the rows among each other, one per metric of the plan."""
    separations: tuple[Separation | None, ...] = ()
    """Of the best row from the others, one per metric of the plan; None where no row is best."""

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


def lay_out(
    plan: PublishedPlan, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> tuple[Section, ...]:
    """The sections of the table, one per part; the best cells marked, of the metrics whose cells compare."""
    return tuple(_section(plan, part, measurements, records) for part in plan.parts)


def _section(
    plan: PublishedPlan, part: Part, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> Section:
    last_steps = {label: plan.trials_of(part.name, label)[0].evaluations[-1][0] for label in part.rows}
    last = [m for m in measurements if m.part == part.name and m.step == last_steps[m.row]]
    comparability = tuple(rows_comparability(metric, last) for metric in plan.metrics)
    rows = _mark_best(comparability, _rows(plan, part, last, records))
    separations = tuple(_separation(rows, index) for index in range(len(plan.metrics)))
    return Section(part, rows, _floors(plan, last, records), comparability, separations)


def _separation(rows: Sequence[Row], index: int) -> Separation | None:
    """The best row by a metric, the first of several, against the others; None if none is best."""
    best = next((row.label for row in rows if row.cells[index].best), None)
    finite = {row.label: row.cells[index].values for row in rows if row.cells[index].finite}
    return None if best is None else separation_of(best, finite)


def _rows(plan: PublishedPlan, part: Part, last: Sequence[Measurement], records: Mapping[str, Record]) -> list[Row]:
    found: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in last:
        found[measurement.row, measurement.metric].append(measurement)
    rows = []
    for label in part.rows:
        step, digest = plan.trials_of(part.name, label)[0].evaluations[-1]
        cells = tuple(aggregate(found[label, metric.name]) for metric in plan.metrics)
        task = plan.evaluations[digest]
        digests = dict.fromkeys(digest for cell in cells for digest in cell.digests)
        runs = run_links(digests, records)
        rows.append(Row(label, cells, step, task.training_flops, task.num_evaluations, runs))
    return rows


def aggregate(measurements: Sequence[Measurement]) -> Cell:
    """The mean over the seeds that are done; if none is, the worst that happened to one."""
    protocols = tuple(m.protocols for m in measurements)
    digests = tuple(dict.fromkeys(m.digest for m in measurements))
    values = tuple(SeedValue(m.seed, m.value, m.standard_error) for m in measurements if m.value is not None)
    found = {m.status for m in measurements}
    worst: CellStatus = next((status for status in _WORST_FIRST if status in found), "missing")
    cell = _cell_of(values) if values else Cell(worst)
    unfinished = worst if values and worst != "done" else None
    return replace(cell, num_seeds=len(measurements), protocols=protocols, digests=digests, unfinished=unfinished)


def _cell_of(values: tuple[SeedValue, ...]) -> Cell:
    """The cell of some values, at least one."""
    uncertainty = uncertainty_of_mean(values)
    return Cell(
        "done",
        mean([value.value for value in values]),
        uncertainty.half_width if uncertainty else None,
        len(values),
        len(values),
        values=values,
        basis=uncertainty.basis if uncertainty else None,
    )


def mean(values: Sequence[float]) -> float:
    """Mean of values, [N]; NaN if one is, or if infinities cancel."""
    return float(sum(values) / len(values))


def _mark_best(comparability: Sequence[Comparability], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Mark the best finite mean of each metric, ties included.

    None where all are alike, where only one row has a value, and where the rows do not compare.
    """
    best: list[float | None] = []
    for index, found in enumerate(comparability):
        means = {cell.mean for cell in (row.cells[index] for row in rows) if cell.finite}
        choose = min if found.metric.better == "lower" else max
        has_best = found.comparable and len(means) > 1
        best.append(choose(value for value in means if value is not None) if has_best else None)
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


def _floors(
    plan: PublishedPlan, last: Sequence[Measurement], records: Mapping[str, Record]
) -> tuple[RealImageRow, ...]:
    """One row of real images for each floor that a part's last evaluations are read beside."""
    beside = {m.digest: plan.evaluations[m.digest].floor for m in last}
    digests = list(dict.fromkeys(digest for digest in beside.values() if digest is not None))
    rows = {digest: list(dict.fromkeys(m.row for m in last if beside[m.digest] == digest)) for digest in digests}
    titles = real_image_titles({digest: plan.floors[digest] for digest in digests}, rows)
    floors = []
    for digest in digests:
        task, record = plan.floors[digest], records.get(digest, MISSING)
        label = "real images" if len(digests) == 1 else f"real images ({titles[digest]})"
        cells = [floor_cell(metric, task, record) for metric in plan.metrics]
        measured = [m for m in last if beside[m.digest] == digest]
        comparability = (
            floor_comparability(metric, (label, cell.protocols[0]), measured)
            if cell.protocols
            else Comparability(metric)
            for metric, cell in zip(plan.metrics, cells, strict=True)
        )
        floors.append(RealImageRow(label, tuple(cells), tuple(comparability), run_links([digest], records)))
    return tuple(floors)


def floor_cell(metric: Metric, task: FloorTask, record: Record) -> Cell:
    """What real images score on a metric; a metric that has no floor is absent from plan and record."""
    value = record.metrics.get(metric.name) if record.status == "done" else None
    protocols = (protocols_of(task.protocols, record, metric.name),)
    if value is None:
        awaited = metric.name in task.protocols and record.status != "done"
        return Cell(record.status, protocols=protocols) if awaited else Cell("not planned")
    only = SeedValue(0, value, standard_error(record, metric.name))
    return replace(_cell_of((only,)), protocols=protocols, digests=(task.digest,))
