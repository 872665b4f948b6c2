"""Numbers and sentences at the head of the page. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from analysis.plan.model import Part, PublishedPlan
from analysis.results.part_best import best_of_parts
from analysis.results.sections import Section
from analysis.text.text_tables import TextTable

_MOST_OF_A_FRONT = 8


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


def list_findings(
    plan: PublishedPlan, sections: Sequence[Section], tables: Sequence[TextTable]
) -> list[tuple[str, str, str, str]]:
    """List the best row of each part by the primary metric, and the trial that leads each search by its objectives:
    (part, what, value, row)."""
    texts = {
        (section.part.name, row.label, metric.name): cell.text
        for section, table in zip(sections, tables, strict=True)
        for row, cells in zip(section.rows, table.rows, strict=False)
        for metric, cell in zip(plan.metrics, cells[1:], strict=False)
    }
    found = []
    by_part = {part: list(of_part) for part, of_part in groupby(best_of_parts(sections), lambda one: one.part.name)}
    for section in sections:
        found += [
            (
                best.part.title,
                f"best {best.metric.title}{'' if best.is_complete else ' so far'}",
                texts[best.part.name, best.row.label, best.metric.name],
                best.row.label,
            )
            for best in by_part.get(section.part.name, [])
        ]
        found += _best_of_search(plan, section.part, texts)
    return found


def _best_of_search(
    plan: PublishedPlan, part: Part, texts: Mapping[tuple[str, str, str], str]
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a search's best trials with their objectives: one trial, or the Pareto front."""
    search = part.search
    if search is None:
        return
    titles = {metric.name: metric.title for metric in plan.metrics}
    named = [titles.get(name, name.replace("_", " ")) for name in search.objectives]
    ended = sum(count for state, count in search.states.items() if state not in ("running", "refused"))
    so_far = "" if ended >= search.num_trials else " so far"
    for trial in [one for one in search.trials if one.row in search.best and one.values][:_MOST_OF_A_FRONT]:
        values = [
            texts.get((part.name, trial.row, name), f"{value:.4g}")
            for name, value in zip(search.objectives, trial.values, strict=True)
        ]
        leading = f"leading in {', '.join(named)}{so_far}, chosen among {' '.join(_counted(ended, 'trial'))}"
        yield part.title, leading, ", ".join(values), trial.row
