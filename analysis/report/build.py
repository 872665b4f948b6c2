"""A sweep's report: table, figures, samples and one page. Rendering is pure; `write_report` reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.contract.printable import printable
from analysis.figures.gallery import drawing_ids, figure_files, make_galleries
from analysis.plan.model import PublishedPlan
from analysis.records.read import read_records
from analysis.records.stored_files import StorageRoot
from analysis.report.html_page import render_page
from analysis.report.latex import latex_table
from analysis.report.markdown import markdown_comparison, markdown_table
from analysis.report.paper_folder import paper_files
from analysis.report.previous_drawings import DRAWINGS, PreviousDrawings, encode_drawings, read_previous
from analysis.report.sample_grids import collect_sample_grids
from analysis.report.summary import filled_cells
from analysis.report.terminal import format_for_terminal, format_results
from analysis.report.write_files import write_files
from analysis.text.aggregate_tables import across_legend, make_across_table
from analysis.text.comparison_text import TextComparison, make_text_comparison
from analysis.text.difference_tables import make_difference_table
from analysis.text.text_tables import PlainTable, csv_table, make_text_tables
from analysis.tracking.address import last_evaluations, runs_url

_PAGE = "report.html"
_TEXTS = (".csv", ".html", ".md", ".svg", ".tex")


@dataclass(frozen=True)
class ReportFiles:
    """A written report."""

    output: str
    """Folder or URL of the report."""
    names: tuple[str, ...]
    """Names of its files, inside `output`."""
    num_cells: int
    num_filled: int
    """Table cells, and those that have a value."""
    alarm: str = ""
    """Source of the numbers, if it is not MLflow."""
    results: str = ""
    """The tables' metrics for a terminal."""
    runs_url: str = ""
    """Page of the last evaluations' runs in MLflow; "" where it could not be read."""

    @property
    def html(self) -> str:
        """Return the path or URL of the page to open."""
        return f"{self.output.rstrip('/')}/{_PAGE}"


def write_report(
    plan: PublishedPlan,
    output: str,
    storage_options: Mapping[str, Any] | None = None,
    storage: StorageRoot | None = None,
) -> ReportFiles:
    """Read the records of a plan from MLflow, or from the store if MLflow is away, and write the report.

    Args:
        plan: the published plan, see `plan_file.read_plan` and `parse_plan`.
        output: folder or fsspec URL; files of an earlier report are replaced, or removed if this one does not have
            them. Figures that did not change are not drawn again.
        storage_options: options of fsspec for `output`.
        storage: root of the records; None: without MLflow there is no report.

    Raises: UserError if neither MLflow nor a record can be read, or `output` cannot be written.
    """
    read = read_records(plan, storage)
    joined_sweep = JoinedSweep.of(plan, read.records)
    previous = read_previous(output, storage_options)
    files = render_report(joined_sweep, read.notes, previous, alarm=read.alarm, experiment_id=read.experiment_id)
    write_files(files, output, storage_options)
    cells = filled_cells(joined_sweep.sections)
    link = runs_url(plan.tracking_uri, read.experiment_id, last_evaluations(plan))
    results = format_results(make_text_tables(plan, joined_sweep.sections), len(plan.metrics)) if any(cells) else ""
    return ReportFiles(output, tuple(files), len(cells), sum(cells), read.alarm, results, link)


def comparison_with_paper(plan: PublishedPlan, storage: StorageRoot | None = None) -> str:
    """Return a plan's results beside the paper's numbers, for a terminal; empty without anything to compare.

    Raises: UserError if neither MLflow nor a record can be read, or the plan names what the paper does not have.
    """
    if plan.published is None:
        return ""
    read = read_records(plan, storage)
    joined_sweep = JoinedSweep.of(plan, read.records)
    comparison = _comparison(joined_sweep, read.alarm) if any(filled_cells(joined_sweep.sections)) else None
    return format_for_terminal(comparison) if comparison else ""


def _comparison(joined_sweep: JoinedSweep, alarm: str) -> TextComparison | None:
    comparison = make_text_comparison(joined_sweep.plan, joined_sweep.sections, joined_sweep.comparisons)
    return replace(comparison, notes=(alarm, *comparison.notes)) if comparison and alarm else comparison


def render_report(
    joined_sweep: JoinedSweep,
    notes: Sequence[str] = (),
    previous_drawings: PreviousDrawings | None = None,
    *,
    alarm: str = "",
    experiment_id: str = "",
) -> dict[str, bytes]:
    """Render every file of the report by its path, the page last; the same plan and records give the same bytes.

    Args: notes: remarks on the experiment as a whole. previous_drawings: drawings to use again for figures that did not
        change. alarm: text above everything and above each table. experiment_id: MLflow's; "": not known.
    """
    plan = joined_sweep.plan
    tables = make_text_tables(plan, joined_sweep.sections)
    comparison = _comparison(joined_sweep, alarm)
    if alarm:
        tables = tuple(replace(table, caveats=(alarm, *table.caveats)) for table in tables)
    differences = [make_difference_table(section) for section in joined_sweep.sections]
    galleries = make_galleries(joined_sweep, previous_drawings or PreviousDrawings())
    grids = collect_sample_grids(plan, joined_sweep.records)
    files = {
        "table.md": markdown_table(plan, tables, differences, _across(joined_sweep)).encode(),
        "table.csv": csv_table(joined_sweep.measurements).encode(),
        "table.tex": latex_table(plan, tables).encode(),
    }
    if comparison:
        files["comparison.md"] = markdown_comparison(comparison).encode()
    files |= paper_files(joined_sweep, tables, comparison)
    files |= figure_files(galleries)
    files[DRAWINGS] = encode_drawings(drawing_ids(galleries))
    files |= {grid.path: grid.image for grid in grids}
    files |= {grid.moving_path: grid.moving for grid in grids if grid.moving is not None}
    files[_PAGE] = render_page(joined_sweep, tables, comparison, galleries, grids, notes, alarm, experiment_id).encode()
    return {name: _printable(data) if name.endswith(_TEXTS) else data for name, data in files.items()}


def _across(joined_sweep: JoinedSweep) -> tuple[PlainTable, str] | None:
    across = joined_sweep.across_parts
    table = make_across_table(across)
    return (table, across_legend(across, len(joined_sweep.plan.seeds))) if table and across else None


def _printable(data: bytes) -> bytes:
    return printable(data.decode()).encode()
