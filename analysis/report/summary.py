"""Numbers and sentences at the head of the page. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.plan.model import PublishedPlan
from analysis.results.sections import Section
from analysis.text.text_tables import TextTable


def filled_cells(sections: Sequence[Section]) -> list[bool]:
    """Return, for each planned cell, True if it has a value."""
    cells = [cell for section in sections for row in section.rows for cell in row.cells]
    return [cell.mean is not None for cell in cells if cell.status != "not planned"]


def summarize(plan: PublishedPlan, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Return the numbers for the head of the page, each with its unit."""
    cells = filled_cells(sections)
    return [
        (str(len(plan.trials)), "trials"),
        (str(sum(len(part.rows) for part in plan.parts)), f"rows in {len(plan.parts)} parts"),
        (str(len(plan.seeds)), "seed" if len(plan.seeds) == 1 else "seeds"),
        (str(len(plan.trainings)), "trainings"),
        (str(len(plan.evaluations)), "evaluations"),
        (f"{sum(cells)} of {len(cells)}", "table cells filled"),
    ]


def list_findings(
    plan: PublishedPlan, sections: Sequence[Section], tables: Sequence[TextTable]
) -> list[tuple[str, str, str, str]]:
    """List the best rows of each part by the plan's first metric: (part, metric, value, row)."""
    findings = []
    for section, table in zip(sections, tables, strict=True):
        complete = all(cell.num_values == cell.num_seeds for row in section.rows for cell in row.cells[:1])
        for row, texts in zip(section.rows, table.rows, strict=False):
            if row.cells and row.cells[0].best:
                metric = f"{plan.metrics[0].title}{'' if complete else ' so far'}"
                findings.append((section.part.title, metric, texts[1].text, row.label))
    return findings
