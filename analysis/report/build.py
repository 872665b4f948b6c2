"""A sweep's report: table, figures, samples and one page. Rendering is pure; `write_report` does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.comparison.compare import compare
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.figures.gallery import drawing_ids, figure_files, make_galleries
from analysis.plan.model import PublishedPlan
from analysis.records.read import read_records
from analysis.records.record import Record
from analysis.records.stored_files import StorageRoot
from analysis.report.html_page import filled_cells, render_page
from analysis.report.latex import latex_table
from analysis.report.markdown import markdown_comparison, markdown_table
from analysis.report.paper_folder import paper_files
from analysis.report.previous_drawings import DRAWINGS, PreviousDrawings, drawings_file, read_previous
from analysis.report.sample_grids import collect_samples
from analysis.report.terminal import terminal_text
from analysis.report.write_files import write_files
from analysis.results.cells import lay_out
from analysis.results.measurements import measure
from analysis.text.comparison_text import TextComparison, text_comparison
from analysis.text.text_tables import csv_table, text_tables

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
    alarm: str = ""
    """Where the numbers come from, if that is not MLflow."""

    @property
    def html(self) -> str:
        """Path or URL of the page to open."""
        return f"{self.output.rstrip('/')}/{_PAGE}"


def write_report(
    plan: PublishedPlan,
    output: str,
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageRoot | None = None,
) -> ReportFiles:
    """Read what MLflow holds for a plan and write the report of it; if MLflow is away, of what the records say.

    Args:
        plan: the published plan, see `plan_file.read_plan` and `parse_plan`.
        output: folder or fsspec URL; files of an earlier report are replaced, or removed if this one does not have
            them. Pictures of figures that did not change are not drawn again.
        storage_options: passed to fsspec for `output`.
        storage: where the records lie; None: without MLflow there is no report.

    Raises: UserError if neither MLflow nor a record can be read, or `output` cannot be written.
    """
    found = read_records(plan, storage)
    records = found.records
    files = render_report(plan, records, found.notes, read_previous(output, storage_options), alarm=found.alarm)
    write_files(files, output, storage_options)
    cells = filled_cells(lay_out(plan, measure(plan, records), records))
    return ReportFiles(output, tuple(files), len(cells), sum(cells), found.alarm)


def comparison_with_paper(plan: PublishedPlan, storage: StorageRoot | None = None) -> str:
    """What was found for a plan beside the paper's numbers, for a terminal; empty without anything to compare.

    Raises: UserError if neither MLflow nor a record can be read, or the plan names what the paper does not have.
    """
    if plan.published is None:
        return ""
    found = read_records(plan, storage)
    records = found.records
    sections = lay_out(plan, measure(plan, records), records)
    any_value = any(filled_cells(sections))
    comparison = text_comparison(plan, sections, compare(plan, sections)) if any_value else None
    return terminal_text(_alarming(comparison, found.alarm)) if comparison else ""


def _alarming(comparison: TextComparison, alarm: str) -> TextComparison:
    return replace(comparison, notes=(alarm, *comparison.notes)) if alarm else comparison


def render_report(
    plan: PublishedPlan,
    records: Mapping[str, Record],
    notes: Sequence[str] = (),
    earlier: PreviousDrawings | None = None,
    *,
    alarm: str = "",
) -> dict[str, bytes]:
    """Every file of the report by its path, the page last; the same bytes for the same plan and records.

    Args: notes: what a reader has to know of the experiment as a whole. earlier: a report whose pictures are used again
        where their figures are the same. alarm: what stands above everything and above each table.
    """
    evidence = JoinedSweep.of(plan, records)
    tables = text_tables(plan, evidence.sections)
    comparison = text_comparison(plan, evidence.sections, evidence.compared)
    if alarm:
        tables = tuple(replace(table, flags=(alarm, *table.flags)) for table in tables)
        comparison = _alarming(comparison, alarm) if comparison else None
    galleries = make_galleries(evidence, (earlier or PreviousDrawings()).drawing)
    grids = collect_samples(plan, records)
    files = {
        "table.md": markdown_table(plan, tables).encode(),
        "table.csv": csv_table(evidence.measurements).encode(),
        "table.tex": latex_table(plan, tables).encode(),
    }
    if comparison:
        files["comparison.md"] = markdown_comparison(comparison).encode()
    files |= paper_files(plan, evidence.sections, tables, evidence.compared, comparison)
    files |= figure_files(galleries)
    files[DRAWINGS] = drawings_file(drawing_ids(galleries))
    files |= {grid.path: grid.image for grid in grids}
    files |= {grid.moving_path: grid.moving for grid in grids if grid.moving is not None}
    page = render_page(evidence, tables, comparison, galleries, grids, notes, alarm)
    return {**files, _PAGE: page.encode()}
