"""The table in plain text cells, which every format renders, and as long-form CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.plan.model import Metric, PublishedPlan
from analysis.results.cells import Cell, Section
from analysis.results.measurements import Measurement
from analysis.results.run_links import RunLink
from analysis.text.caveats import section_flags
from analysis.text.numbers import decimals_for, scientific
from analysis.text.significance_text import separation_notes

NOTHING = "–"
_ARROWS = {"lower": "↓", "higher": "↑"}


@dataclass(frozen=True)
class TextCell:
    """What a cell says, in plain text."""

    text: str
    best: bool = False
    status: str = "done"


@dataclass(frozen=True)
class TextTable:
    """One section of the table in plain text; the first column holds labels."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]
    num_floors: int
    """How many of the last rows are real images."""
    flags: tuple[str, ...] = ()
    """What a reader must know before comparing the rows, a sentence each."""
    runs: tuple[tuple[RunLink, ...], ...] = ()
    """Where the numbers of each row come from."""
    notes: tuple[str, ...] = ()
    """Which rows are not separable from the best, a sentence each."""


def text_tables(plan: PublishedPlan, sections: Sequence[Section]) -> tuple[TextTable, ...]:
    """The sections in plain text, with the same decimals for a metric throughout."""
    decimals = metric_decimals(plan, sections)
    header = ("", *map(column_title, plan.metrics), "training steps", "training FLOPs", "network evaluations / image")
    tables = []
    for section in sections:
        rows = [
            (
                TextCell(row.label, section.part.search is not None and row.label in section.part.search.best),
                *(cell_text(cell, places) for cell, places in zip(row.cells, decimals, strict=True)),
                TextCell(f"{row.step:,}"),
                TextCell(scientific(row.training_flops)),
                TextCell(f"{row.num_evaluations:,}"),
            )
            for row in section.rows
        ]
        floors = [
            (
                TextCell(floor.label),
                *(cell_text(cell, places) for cell, places in zip(floor.values, decimals, strict=True)),
                *[TextCell(NOTHING)] * 3,
            )
            for floor in section.floors
        ]
        flags = section_flags(section, unequal_compute_allowed=not plan.equal_compute)
        notes = separation_notes(section)
        runs = (*(row.runs for row in section.rows), *(floor.runs for floor in section.floors))
        tables.append(TextTable(section.part.title, header, (*rows, *floors), len(floors), flags, runs, notes))
    return tuple(tables)


def column_title(metric: Metric) -> str:
    """A metric with an arrow towards the better."""
    return f"{metric.title} {arrow(metric.better)}"


def arrow(better: Literal["lower", "higher"]) -> str:
    """The arrow towards the better."""
    return _ARROWS[better]


def uncertainty_legend(plan: PublishedPlan) -> str:
    """What ± means in the tables of a sweep."""
    if len(plan.seeds) > 1:
        return (
            "±: 95% interval of the mean over n seeds, of their spread and the error of finite samples; "
            "of a single seed that of samples alone."
        )
    return "±: 95% interval of the error of finite samples, of one seed; what another seed would give is not in it."


def metric_decimals(plan: PublishedPlan, sections: Sequence[Section]) -> tuple[int, ...]:
    """Decimals of each metric of the plan, the same in all sections."""
    return tuple(_decimals(sections, index) for index in range(len(plan.metrics)))


def _decimals(sections: Sequence[Section], index: int) -> int:
    cells = [row.cells[index] for section in sections for row in section.rows]
    sizes = [abs(cell.mean) for cell in cells if cell.mean is not None and math.isfinite(cell.mean)]
    largest = max(sizes, default=1.0)
    return decimals_for(largest)


def cell_text(cell: Cell, decimals: int) -> TextCell:
    """`mean ± half-width`, with several seeds `(n=...)`, or what became of the cell."""
    if cell.mean is None:
        return TextCell(NOTHING if cell.status == "not planned" else cell.status, status=cell.status)
    text = f"{cell.mean:.{decimals}f}"
    if cell.half_width is not None:
        text += f" ± {_spread_text(cell.half_width, decimals)}"
    if cell.num_values < cell.num_seeds:
        stopped = f"; {cell.unfinished}" if cell.unfinished in ("failed", "running") else ""
        text += f" (n={cell.num_values} of {cell.num_seeds}{stopped})"
    elif cell.num_seeds > 1:
        text += f" (n={cell.num_seeds})"
    return TextCell(text, cell.best)


def _spread_text(spread: float, decimals: int) -> str:
    """A spread at the decimals of its value; one that would round to nothing is no zero."""
    text = f"{spread:.{decimals}f}"
    return f"<{10.0**-decimals:.{decimals}f}" if spread > 0 and not float(text) else text


_CSV_COLUMNS = (
    "part", "row", "seed", "step", "metric", "better", "value", "standard_error", "status", "protocol", "digest",
    "source", "training_flops", "training_images",
)  # fmt: skip


def csv_table(measurements: Iterable[Measurement]) -> str:
    """Every planned measurement but those of metrics that a row leaves out, one a line, at full precision.

    The column protocol holds the id of how it was measured, or while it is not, of how it will be.
    """
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, _CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for m in measurements:
        protocol = m.protocols.effective
        if m.status != "not planned":
            writer.writerow({**vars(m), "protocol": protocol.id if protocol else None})
    return buffer.getvalue()
