"""A sweep's report: table, charts, samples and one page. Rendering is pure; `write_report` does the rest."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis import ledger, notices
from analysis.address import ui_command, without_password
from analysis.comparison import compare
from analysis.comparison_text import terminal_text, text_comparison
from analysis.drawing import DARK, LIGHT, draw
from analysis.figures import Chart, collect_convergence, collect_losses
from analysis.latex import latex_table
from analysis.layouts import Section, lay_out
from analysis.markdown import markdown_comparison, markdown_table
from analysis.measurements import measure
from analysis.notices import Note
from analysis.paper_folder import paper_files
from analysis.plan_types import PlanFile
from analysis.protocol_tables import protocol_table, sampling_table
from analysis.publish import publish
from analysis.reading import read
from analysis.records import Record, read_records
from analysis.samples import collect_samples
from analysis.tables import TextTable, csv_table, text_tables, uncertainty_legend
from analysis.wrapping import breakable

_TEMPLATES = Path(__file__).parent / "templates"
_PAGE = "report.html"


@dataclass(frozen=True)
class ReportFiles:
    """A written report."""

    output: str
    """Its folder or URL."""
    names: tuple[str, ...]
    """Its files, inside `output`."""
    num_cells: int
    num_filled: int
    """Table cells, and those that have a value."""

    @property
    def html(self) -> str:
        """Path or URL of the page to open."""
        return f"{self.output.rstrip('/')}/{_PAGE}"


@dataclass(frozen=True)
class Figure:
    """A chart as the page shows it, an SVG for each colour scheme."""

    chart: Chart
    light: bytes
    dark: bytes


def write_report(plan: PlanFile, output: str, storage_options: Mapping[str, Any] | None = None) -> ReportFiles:
    """Read what MLflow holds for a plan and write the report of it.

    Args:
        plan: the published plan, see `plan_file.read_plan` and `parse_plan`.
        output: folder or fsspec URL; files of an earlier report are replaced.
        storage_options: passed to fsspec for `output`.

    Raises: UserError if the tracking server cannot be reached or `output` cannot be written.
    """
    reading = read(plan)
    records = reading.records
    files = render_report(plan, records, reading.notes)
    publish(files, output, storage_options)
    cells = _cells(lay_out(plan, measure(plan, records), records))
    return ReportFiles(output, tuple(files), len(cells), sum(cells))


def comparison_with_paper(plan: PlanFile) -> str:
    """What MLflow holds for a plan beside the paper's numbers, for a terminal; empty without anything to compare.

    Raises: UserError if the tracking server cannot be reached, or the plan names what the paper does not have.
    """
    if plan.published is None:
        return ""
    records = read_records(plan)
    sections = lay_out(plan, measure(plan, records), records)
    any_value = any(_cells(sections))
    comparison = text_comparison(plan, sections, compare(plan, sections)) if any_value else None
    return terminal_text(comparison) if comparison else ""


def render_report(plan: PlanFile, records: Mapping[str, Record], notes: Sequence[str] = ()) -> dict[str, bytes]:
    """Every file of the report by its path, the page last; the same bytes for the same plan and records.

    Args: notes: what a reader has to know of the experiment as a whole.
    """
    measurements = measure(plan, records)
    sections = lay_out(plan, measurements, records)
    tables = text_tables(plan, sections)
    compared = compare(plan, sections)
    comparison = text_comparison(plan, sections, compared)
    convergence = collect_convergence(plan, measurements, records)
    losses = collect_losses(plan, records)
    samples = collect_samples(plan, records)
    figures = {chart.name: _figure(chart) for _, charts in convergence for chart in charts}
    figures |= {losses.name: _figure(losses)} if losses else {}
    files = {
        "table.md": markdown_table(plan, tables).encode(),
        "table.csv": csv_table(measurements).encode(),
        "table.tex": latex_table(plan, tables).encode(),
    }
    if comparison:
        files["comparison.md"] = markdown_comparison(comparison).encode()
    files |= paper_files(plan, sections, tables, compared, comparison)
    for name, figure in figures.items():
        files[f"figures/{name}.png"] = draw(figure.chart, "png")
        files[f"figures/{name}.svg"] = draw(figure.chart, "svg") if figure.chart.caption else figure.light
    files |= {grid.path: grid.image for grid in samples}
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            plan=plan,
            summary=_summary(plan, sections),
            findings=_findings(plan, sections, tables),
            tables=tables,
            uncertainty=uncertainty_legend(plan),
            protocols=protocol_table(plan, measurements, records),
            samplings=sampling_table(plan),
            comparison=comparison,
            convergence=[(part, [figures[chart.name] for chart in charts]) for part, charts in convergence],
            losses=figures[losses.name] if losses else None,
            samples=samples,
            training_ledger=ledger.training_ledger(plan, records),
            evaluation_ledger=ledger.evaluation_ledger(plan, records),
            provenance=ledger.provenance(records),
            failures=notices.failures(plan, records),
            warnings=[*(Note("MLflow", note) for note in notes), *notices.warnings(plan, records, measurements)],
            tracking=without_password(plan.tracking_uri),
            ui_command=ui_command(plan.tracking_uri),
        )
    )
    return {**files, _PAGE: page.encode()}


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
    environment.filters["breakable"] = breakable
    return environment


def _figure(chart: Chart) -> Figure:
    shown = replace(chart, caption="")  # the page says it beside the picture
    return Figure(chart, draw(shown, "svg", LIGHT), draw(shown, "svg", DARK))


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _cells(sections: Sequence[Section]) -> list[bool]:
    """Whether each planned cell has a value."""
    cells = [cell for section in sections for row in section.rows for cell in row.cells]
    return [cell.mean is not None for cell in cells if cell.status != "not planned"]


def _summary(plan: PlanFile, sections: Sequence[Section]) -> list[tuple[str, str]]:
    """Numbers for the head of the page: (value, what it counts)."""
    cells = _cells(sections)
    return [
        (str(len(plan.trials)), "trials"),
        (str(sum(len(part.rows) for part in plan.parts)), f"rows in {len(plan.parts)} parts"),
        (str(len(plan.seeds)), "seed" if len(plan.seeds) == 1 else "seeds"),
        (str(len(plan.trainings)), "trainings"),
        (str(len(plan.evaluations)), "evaluations"),
        (f"{sum(cells)} of {len(cells)}", "table cells filled"),
    ]


def _findings(plan: PlanFile, sections: Sequence[Section], tables: Sequence[TextTable]) -> list[dict[str, str]]:
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
