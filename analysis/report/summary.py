"""Numbers and sentences at the head of the page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.plan.model import PublishedPlan
from analysis.results.part_best import best_of_parts
from analysis.results.sections import Section
from analysis.text.text_tables import TextTable


def filled_cells(sections: Sequence[Section]) -> list[bool]:
    """Return, for each planned cell, True if it has a value."""
    cells = [cell for section in sections for row in section.rows for cell in row.cells]
    return [cell.mean is not None for cell in cells if cell.status != "not planned"]


def summarize(plan: PublishedPlan, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Return the numbers for the head of the page, each with its unit."""
    cells = filled_cells(sections)
    num_rows, num_parts = sum(len(part.rows) for part in plan.parts), len(plan.parts)
    return [
        _counted(len(plan.trials), "trial"),
        (str(num_rows), f"{_counted(num_rows, 'row')[1]} in {' '.join(_counted(num_parts, 'part'))}"),
        _counted(len(plan.seeds), "seed"),
        _counted(len(plan.trainings), "training"),
        _counted(len(plan.evaluations), "evaluation"),
        (f"{sum(cells)} of {len(cells)}", "table cells filled"),
    ]


def _counted(number: int, noun: str) -> tuple[str, str]:
    return str(number), noun if number == 1 else f"{noun}s"


def list_findings(sections: Sequence[Section], tables: Sequence[TextTable]) -> list[tuple[str, str, str, str]]:
    """List the best rows of each part by the primary metric: (part, metric, value, row)."""
    texts = {
        (section.part.name, row.label, index): cell.text
        for section, table in zip(sections, tables, strict=True)
        for row, cells in zip(section.rows, table.rows, strict=False)
        for index, cell in enumerate(cells[1:])
    }
    return [
        (
            best.part.title,
            f"{best.metric.title}{'' if best.is_complete else ' so far'}",
            texts[best.part.name, best.row.label, best.index],
            best.row.label,
        )
        for best in best_of_parts(sections)
    ]
