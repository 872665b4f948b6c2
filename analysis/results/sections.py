"""The sections of the table, one per part: rows of cells, the best of them, and real images beside them. Pure."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.contract.limits import EQUAL_COMPUTE_PERCENT
from analysis.plan.model import Part, PublishedPlan
from analysis.records.record import MISSING, Record
from analysis.results.cells import Cell, aggregate, real_images_cell
from analysis.results.comparability import Comparability, real_images_comparability, rows_comparability
from analysis.results.measurements import Measurement
from analysis.results.real_image_titles import real_image_titles
from analysis.results.run_links import RunLink, link_runs
from analysis.results.significance import Separation, separate_from_best


@dataclass(frozen=True)
class Row:
    """A row of a part: its scores and its costs."""

    label: str
    cells: tuple[Cell, ...]
    """One per metric of the plan."""
    step: int
    training_flops: int
    num_evaluations: int
    runs: tuple[RunLink, ...] = ()
    """Sources of its numbers, one a seed."""


@dataclass(frozen=True)
class RealImageRow:
    """Scores of real images that were measured as the samples of a part."""

    label: str
    values: tuple[Cell, ...]
    comparability: tuple[Comparability, ...] = ()
    """Comparability with the rows, one per metric of the plan."""
    runs: tuple[RunLink, ...] = ()
    """Sources of its numbers."""


@dataclass(frozen=True)
class Section:
    """One part of the table, filled in."""

    part: Part
    rows: tuple[Row, ...]
    real_images: tuple[RealImageRow, ...]
    comparability: tuple[Comparability, ...]
    """Comparability of the rows among each other, one per metric of the plan."""
    separations: tuple[Separation | None, ...] = ()
    """Separation of the best row from the others, one per metric of the plan; None if no row is best."""

    @property
    def compute_spread(self) -> float:
        """Excess of the most expensive training over the cheapest, as a share of it; inf beside an untrained row.

        Trainings count up to their last evaluations.
        """
        least, most = self._flops_range()
        if most == least:
            return 0.0
        return (most - least) / least if least else math.inf

    @property
    def unequal_compute(self) -> bool:
        """True if the rows were trained at different compute, so that a better one may owe it to that."""
        least, most = self._flops_range()
        return 100 * (most - least) > EQUAL_COMPUTE_PERCENT * least

    def _flops_range(self) -> tuple[int, int]:
        flops = [row.training_flops for row in self.rows]
        return min(flops, default=0), max(flops, default=0)


def make_sections(
    plan: PublishedPlan, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> tuple[Section, ...]:
    """Return one section per part; cells are best only by metrics whose cells compare."""
    return tuple(_section(plan, part, measurements, records) for part in plan.parts)


def _section(
    plan: PublishedPlan, part: Part, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> Section:
    last_steps = {label: plan.trials_of(part.name, label)[0].evaluations[-1][0] for label in part.rows}
    last = [m for m in measurements if m.part == part.name and m.step == last_steps[m.row]]
    comparability = tuple(rows_comparability(metric, last) for metric in plan.metrics)
    rows = _mark_best(comparability, _rows(plan, part, last, records))
    separations = tuple(_separate_from_best(rows, index) for index in range(len(plan.metrics)))
    return Section(part, rows, _real_image_rows(plan, last, records), comparability, separations)


def _separate_from_best(rows: Sequence[Row], index: int) -> Separation | None:
    """Compare the best row by a metric, the first of several, with the others; None if none is best."""
    best = next((row.label for row in rows if row.cells[index].best), None)
    finite = {row.label: row.cells[index].values for row in rows if row.cells[index].finite}
    return None if best is None else separate_from_best(best, finite)


def _rows(plan: PublishedPlan, part: Part, last: Sequence[Measurement], records: Mapping[str, Record]) -> list[Row]:
    by_cell: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for measurement in last:
        by_cell[measurement.row, measurement.metric].append(measurement)
    rows = []
    for label in part.rows:
        step, digest = plan.trials_of(part.name, label)[0].evaluations[-1]
        cells = tuple(aggregate(by_cell[label, metric.name]) for metric in plan.metrics)
        task = plan.evaluations[digest]
        digests = dict.fromkeys(digest for cell in cells for digest in cell.digests)
        runs = link_runs(digests, records)
        rows.append(Row(label, cells, step, task.training_flops, task.num_evaluations, runs))
    return rows


def _mark_best(comparability: Sequence[Comparability], rows: Sequence[Row]) -> tuple[Row, ...]:
    """Mark the best finite mean of each metric, ties included.

    None is best if all are alike, if only one row has a value, or if the rows do not compare.
    """
    best: list[float | None] = []
    for index, compared in enumerate(comparability):
        means = {cell.mean for cell in (row.cells[index] for row in rows) if cell.finite}
        choose = min if compared.metric.better == "lower" else max
        has_best = compared.comparable and len(means) > 1
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


def _real_image_rows(
    plan: PublishedPlan, last: Sequence[Measurement], records: Mapping[str, Record]
) -> tuple[RealImageRow, ...]:
    """Return one row for each measurement of real images beside a part's last evaluations."""
    beside = {m.digest: plan.evaluations[m.digest].floor for m in last}
    digests = list(dict.fromkeys(digest for digest in beside.values() if digest is not None))
    labels = {digest: list(dict.fromkeys(m.row for m in last if beside[m.digest] == digest)) for digest in digests}
    titles = real_image_titles({digest: plan.floors[digest] for digest in digests}, labels)
    rows = []
    for digest in digests:
        task, record = plan.floors[digest], records.get(digest, MISSING)
        label = "real images" if len(digests) == 1 else f"real images ({titles[digest]})"
        cells = [real_images_cell(metric, task, record) for metric in plan.metrics]
        measured = [m for m in last if beside[m.digest] == digest]
        comparability = (
            real_images_comparability(metric, (label, cell.protocols[0]), measured)
            if cell.protocols
            else Comparability(metric)
            for metric, cell in zip(plan.metrics, cells, strict=True)
        )
        rows.append(RealImageRow(label, tuple(cells), tuple(comparability), link_runs([digest], records)))
    return tuple(rows)
