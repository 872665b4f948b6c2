"""The page of a report: one HTML file that needs nothing but itself. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.figures.gallery import Gallery
from analysis.plan.model import PublishedPlan
from analysis.report.line_breaks import breakable
from analysis.report.sample_grids import SampleGrid
from analysis.results.cells import Section
from analysis.text import cost_tables as ledger
from analysis.text import notices
from analysis.text.comparison_text import TextComparison
from analysis.text.protocol_tables import plan_table, protocol_table, sampling_table
from analysis.text.significance_text import SEPARATION_LEGEND
from analysis.text.text_tables import TextTable, uncertainty_legend
from analysis.tracking.address import ui_command, without_password

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_GRID_BYTES = 6_000_000
"""Of whole sample grids on the page; beyond, they are files beside it only."""


def render_page(
    evidence: JoinedSweep,
    tables: Sequence[TextTable],
    comparison: TextComparison | None,
    galleries: Sequence[Gallery],
    grids: Sequence[SampleGrid],
    notes: Sequence[str] = (),
    alarm: str = "",
) -> str:
    """The page; the same text for the same arguments.

    Args: tables: of the evidence's sections, in their order. comparison: None if the sweep stands beside no table.
        galleries: the figures. grids: whole sample grids, which also lie beside the page. notes: what a reader has to
        know of the experiment as a whole. alarm: what stands above everything.
    """
    plan, sections = evidence.plan, evidence.sections
    small = sum(len(grid.image) for grid in grids) <= _MOST_GRID_BYTES
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            plan=plan,
            alarm=alarm,
            summary=_summary(plan, sections),
            findings=_findings(plan, sections, tables),
            planned=plan_table(plan),
            tables=tables,
            uncertainty=f"{uncertainty_legend(plan)} {SEPARATION_LEGEND}",
            protocols=protocol_table(plan, evidence.measurements, evidence.records),
            samplings=sampling_table(plan),
            comparison=comparison,
            galleries=galleries,
            grids=grids if small else (),
            num_grids=len(grids),
            training_ledger=ledger.training_ledger(plan, evidence.records),
            evaluation_ledger=ledger.evaluation_ledger(plan, evidence.records),
            provenance=ledger.provenance(evidence.records),
            failures=notices.failures(plan, evidence.records),
            warnings=[
                *(notices.Note("MLflow", note) for note in notes),
                *notices.warnings(plan, evidence.records, evidence.measurements),
            ],
            tracking=without_password(plan.tracking_uri),
            ui_command=ui_command(plan.tracking_uri),
        )
    )


def filled_cells(sections: Sequence[Section]) -> list[bool]:
    """Whether each planned cell has a value."""
    cells = [cell for section in sections for row in section.rows for cell in row.cells]
    return [cell.mean is not None for cell in cells if cell.status != "not planned"]


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = _data_uri
    environment.filters["short"] = _short
    environment.filters["breakable"] = breakable
    return environment


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _short(number: str) -> str:
    """A number of a CSV with six digits; what is no number as it is."""
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number


def _summary(plan: PublishedPlan, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Numbers for the head of the page: (value, what it counts)."""
    cells = filled_cells(sections)
    return [
        (str(len(plan.trials)), "trials"),
        (str(sum(len(part.rows) for part in plan.parts)), f"rows in {len(plan.parts)} parts"),
        (str(len(plan.seeds)), "seed" if len(plan.seeds) == 1 else "seeds"),
        (str(len(plan.trainings)), "trainings"),
        (str(len(plan.evaluations)), "evaluations"),
        (f"{sum(cells)} of {len(cells)}", "table cells filled"),
    ]


def _findings(plan: PublishedPlan, sections: Sequence[Section], tables: Sequence[TextTable]) -> list[dict[str, str]]:
    """The best rows of each part by the plan's first metric."""
    findings = []
    for section, table in zip(sections, tables, strict=True):
        whole = all(cell.num_values == cell.num_seeds for row in section.rows for cell in row.cells[:1])
        for row, texts in zip(section.rows, table.rows, strict=False):
            if row.cells and row.cells[0].best:
                metric = plan.metrics[0].title
                so_far = "" if whole else " so far"
                findings.append(
                    {
                        "part": section.part.title,
                        "so_far": so_far,
                        "metric": metric,
                        "row": row.label,
                        "value": texts[1].text,
                    }
                )
    return findings
