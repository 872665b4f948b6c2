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
from analysis.results.standings import Standing, make_standings


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
    standings: tuple[Standing, ...] = ()
    """How the rows stand, one per metric of the plan."""

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
    """Return one section per part; cells are best only by the primary metric, where cells compare."""
    return tuple(_section(plan, part, measurements, records) for part in plan.parts)


def _section(
    plan: PublishedPlan, part: Part, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> Section:
    last_steps = {label: plan.trials_of(part.name, label)[0].evaluations[-1][0] for label in part.rows}
    last = [m for m in measurements if m.part == part.name and m.step == last_steps[m.row]]
    comparability = tuple(rows_comparability(metric, last) for metric in plan.metrics)
    rows = _rows(plan, part, last, records)
    standings = make_standings(plan, part, comparability, {row.label: row.cells for row in rows})
    marked = tuple(_mark_best(row, standings) for row in rows)
    return Section(part, marked, _real_image_rows(plan, last, records), comparability, standings)


def _mark_best(row: Row, standings: Sequence[Standing]) -> Row:
    cells = (
        replace(cell, best=row.label in standing.best) for cell, standing in zip(row.cells, standings, strict=True)
    )
    return replace(row, cells=tuple(cells))


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
