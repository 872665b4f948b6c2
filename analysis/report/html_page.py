"""The page of a report: one HTML file that needs no other file. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.comparison.row_ranks import rank_rows
from analysis.figures.gallery import Gallery
from analysis.figures.registry import LOOKED_AT_FIRST
from analysis.report.line_breaks import breakable
from analysis.report.sample_grids import SampleGrid
from analysis.report.summary import list_findings, summarize
from analysis.text import cost_tables, notices
from analysis.text.aggregate_tables import RANK_LEGEND, across_legend, make_across_table, make_rank_table
from analysis.text.comparison_text import TextComparison
from analysis.text.difference_tables import DIFFERENCE_LEGEND, make_difference_table
from analysis.text.protocol_tables import make_plan_table, make_protocol_table, make_sampling_table
from analysis.text.significance_text import claims_legend
from analysis.text.text_tables import TextTable, uncertainty_legend
from analysis.tracking.address import last_evaluations, runs_url, ui_command, without_password

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_GRID_BYTES = 6_000_000
"""Largest size of all whole sample grids on the page; beyond, they are only files beside it."""


def render_page(
    joined_sweep: JoinedSweep,
    tables: Sequence[TextTable],
    comparison: TextComparison | None,
    galleries: Sequence[Gallery],
    grids: Sequence[SampleGrid],
    notes: Sequence[str] = (),
    alarm: str = "",
    experiment_id: str = "",
) -> str:
    """Render the page; the same arguments give the same text.

    Args: tables: tables of the sections, in their order. comparison: None if the sweep has no published table.
        galleries: the figures. grids: whole sample grids, which also lie beside the page. notes: remarks on the
        experiment as a whole. alarm: text above everything. experiment_id: MLflow's; "": not known.
    """
    plan, sections = joined_sweep.plan, joined_sweep.sections
    across = joined_sweep.across_parts
    small = sum(len(grid.image) for grid in grids) <= _MOST_GRID_BYTES
    template = _environment().get_template("report.html.j2")
    return template.render(
        plan=plan,
        alarm=alarm,
        summary=summarize(plan, sections),
        findings=list_findings(plan, sections, tables),
        planned=make_plan_table(plan),
        tables=tables,
        differences=[make_difference_table(section) for section in sections],
        difference_legend=DIFFERENCE_LEGEND,
        ranks=[make_rank_table(rank_rows(section)) for section in sections],
        rank_legend=RANK_LEGEND,
        across=make_across_table(across),
        across_legend=across_legend(across, len(plan.seeds)) if across else "",
        uncertainty=f"{uncertainty_legend(plan)} {claims_legend(plan)}",
        protocols=make_protocol_table(plan, joined_sweep.measurements, joined_sweep.records),
        samplings=make_sampling_table(plan),
        comparison=comparison,
        galleries=galleries,
        looked_at_first=LOOKED_AT_FIRST,
        grids=grids if small else (),
        num_grids=len(grids),
        training_ledger=cost_tables.training_ledger(plan, joined_sweep.records),
        evaluation_ledger=cost_tables.evaluation_ledger(plan, joined_sweep.records),
        money=cost_tables.money_text(plan, joined_sweep.records),
        provenance=cost_tables.merge_provenance(joined_sweep.records),
        failures=notices.list_failures(plan, joined_sweep.records),
        warnings=[
            *(notices.Note("MLflow", note) for note in notes),
            *notices.list_warnings(plan, joined_sweep.records, joined_sweep.measurements),
        ],
        tracking=without_password(plan.tracking_uri),
        ui_command=ui_command(plan.tracking_uri),
        runs_url=runs_url(plan.tracking_uri, experiment_id, last_evaluations(plan)),
    )


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"data_uri": _data_uri, "short": _short, "breakable": breakable}
    return environment


def _data_uri(data: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _short(number: str) -> str:
    """Shorten a number of a CSV to six digits; other texts stay."""
    try:
        return f"{float(number):.6g}"
    except ValueError:
        return number
