"""The table in plain text cells, which every format renders, and as long-form CSV."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.plan.model import Metric, PublishedPlan
from analysis.results.cells import Cell
from analysis.results.measurements import Measurement
from analysis.results.run_links import RunLink
from analysis.results.sections import Row, Section
from analysis.text.caveats import section_caveats
from analysis.text.csv_text import csv_text
from analysis.text.numbers import decimals_for, scientific, with_error
from analysis.text.schedule_text import schedule_notes
from analysis.text.significance_text import standing_notes

NOTHING = "–"
_ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class TextCell:
    """A cell in plain text."""

    text: str
    best: bool = False
    status: str = "done"


@dataclass(frozen=True)
class PlainTable:
    """A table of plain text; the first column holds labels."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: tuple[str, ...] = ()
    """Last line of a table of costs."""
    runs: tuple[tuple[str, str], ...] = ()
    """MLflow's id and page of each row's run; empty texts where there is none."""


@dataclass(frozen=True)
class TextTable:
    """One section of the table in plain text; the first column holds labels."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]
    num_real_images: int
    """Number of the last rows that are real images."""
    caveats: tuple[str, ...] = ()
    """Sentences that a reader must know before comparing the rows."""
    runs: tuple[tuple[RunLink, ...], ...] = ()
    """Sources of the numbers of each row."""
    notes: tuple[str, ...] = ()
    """Sentences on the rows that are not separable from the best."""


def make_text_tables(plan: PublishedPlan, sections: Sequence[Section]) -> tuple[TextTable, ...]:
    """Return the sections in plain text, with the same decimals for a metric throughout."""
    decimals = metric_decimals(plan, sections)
    header = ("", *map(column_title, plan.metrics), "training steps", "training FLOPs", "network evaluations / image")
    tables = []
    for section in sections:
        best = section.part.search.best if section.part.search else ()
        rows = [
            (TextCell(row.label, row.label in best), *_cells(row.cells, decimals), *map(TextCell, _costs(row)))
            for row in section.rows
        ]
        nothing = [TextCell(NOTHING)] * 3
        real_images = [(TextCell(row.label), *_cells(row.values, decimals), *nothing) for row in section.real_images]
        caveats = section_caveats(section, unequal_compute_allowed=not plan.equal_compute)
        notes = (*standing_notes(plan, section), *schedule_notes(section.part.search))
        runs = (*(row.runs for row in section.rows), *(row.runs for row in section.real_images))
        tables.append(
            TextTable(section.part.title, header, (*rows, *real_images), len(real_images), caveats, runs, notes)
        )
    return tuple(tables)


def _cells(cells: Sequence[Cell], decimals: Sequence[int]) -> Iterator[TextCell]:
    return (cell_text(cell, places) for cell, places in zip(cells, decimals, strict=True))


def _costs(row: Row) -> tuple[str, str, str]:
    return f"{row.step:,}", scientific(row.training_flops), f"{row.num_evaluations:,}"


def column_title(metric: Metric) -> str:
    """Return a metric's title with an arrow towards the better."""
    return f"{metric.title} {arrow(metric.better)}"


def arrow(better: Literal["lower", "higher"]) -> str:
    """Return the arrow towards the better."""
    return _ARROWS[better]


def uncertainty_legend(plan: PublishedPlan) -> str:
    """Say what ± means in the tables of a sweep."""
    if len(plan.seeds) > 1:
        return (
            "±: 95% interval of the mean over n seeds, of their spread and the error of finite samples; "
            "of a single seed that of samples alone."
        )
    return "±: 95% interval of the error of finite samples, of one seed; what another seed would give is not in it."


def metric_decimals(plan: PublishedPlan, sections: Sequence[Section]) -> tuple[int, ...]:
    """Return the decimals of each metric of the plan, the same in all sections, for values without an error."""
    return tuple(_decimals(sections, index) for index in range(len(plan.metrics)))


def _decimals(sections: Sequence[Section], index: int) -> int:
    cells = [row.cells[index] for section in sections for row in section.rows]
    sizes = [abs(cell.mean) for cell in cells if cell.mean is not None and math.isfinite(cell.mean)]
    largest = max(sizes, default=1.0)
    return decimals_for(largest)


def cell_text(cell: Cell, decimals: int) -> TextCell:
    """Format a cell as `mean ± half-width`, with several seeds `(n=...)`, or as its status.

    Args: decimals: of a mean without an interval; others have two significant digits of it.
    """
    if cell.mean is None:
        return TextCell(NOTHING if cell.status == "not planned" else cell.status, status=cell.status)
    has_error = cell.half_width is not None and cell.half_width > 0 and math.isfinite(cell.half_width)
    text = with_error(cell.mean, cell.half_width) if has_error and cell.half_width else f"{cell.mean:.{decimals}f}"
    if cell.num_values < cell.num_seeds:
        stopped = f"; {cell.unfinished}" if cell.unfinished in ("failed", "running") else ""
        text += f" (n={cell.num_values} of {cell.num_seeds}{stopped})"
    elif cell.num_seeds > 1:
        text += f" (n={cell.num_seeds})"
    return TextCell(text, cell.best)


_CSV_COLUMNS = (
    "part", "row", "seed", "step", "metric", "better", "value", "standard_error", "status", "protocol", "digest",
    "source", "training_flops", "training_images",
)  # fmt: skip


def csv_table(measurements: Iterable[Measurement]) -> str:
    """Write every planned measurement, one a line, at full precision; metrics that a row leaves out are not planned.

    The column protocol holds the id of the recorded protocol or, before the measurement, of the planned one.
    """
    planned = ((m, m.protocols.effective) for m in measurements if m.status != "not planned")
    return csv_text(_CSV_COLUMNS, ({**vars(m), "protocol": protocol and protocol.id} for m, protocol in planned))
