"""Table and comparison as GitHub-flavoured Markdown; every label is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

from analysis.contract.published_numbers import PublishedPart, published_better
from analysis.plan.model import PublishedPlan
from analysis.results.run_links import RunLink
from analysis.text.aggregate_tables import RANK_LEGEND
from analysis.text.comparison_text import ComparisonTable, TextComparison
from analysis.text.cost_tables import REACH_LEGEND
from analysis.text.difference_tables import DIFFERENCE_LEGEND
from analysis.text.published_text import metric_title, part_title, protocol_text
from analysis.text.significance_text import claims_legend
from analysis.text.text_tables import NOTHING, PlainTable, TextCell, TextTable, arrow, uncertainty_legend

_BEST_OF_COLUMN = "Bold: best of its column, in our rows and in the paper's."
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")


def markdown_table(
    plan: PublishedPlan,
    tables: Sequence[TextTable],
    differences: Sequence[PlainTable | None] = (),
    across: tuple[PlainTable, str] | None = None,
) -> str:
    """Render the table.

    Args: differences: of each part's rows from a reference row; empty to leave them out. across: rows over all parts,
        with their legend.
    """
    lines = [f"# {escape_markdown(plan.title)}", ""]
    for table, difference in zip_longest(tables, differences):
        lines += [f"## {escape_markdown(table.title)}", "", *_markdown_part(table)]
        lines += _markdown_plain(difference, DIFFERENCE_LEGEND)
    if across is not None:
        lines += ["## Over all parts", "", *_markdown_plain(*across)]
    return "\n".join([*lines, *_markdown_legend(plan)])


def _markdown_part(table: TextTable) -> Iterator[str]:
    """Render caveats, rows and notes of a part."""
    for caveat in table.caveats:
        yield from (f"**{escape_markdown(caveat)}**", "")
    yield from (*_results(table), "")
    for note in table.notes:
        yield from (f"- {escape_markdown(note)}", "")


def _markdown_plain(table: PlainTable | None, legend: str) -> Iterator[str]:
    if table is not None:
        rows = (map(escape_markdown, row) for row in table.rows)
        yield from (*_markdown_rows(table.header, rows), "", escape_markdown(legend), "")


def _markdown_legend(plan: PublishedPlan) -> Iterator[str]:
    for metric in plan.metrics:
        yield f"{escape_markdown(metric.title)}: {escape_markdown(metric.about)}.  "
    yield from (f"{escape_markdown(uncertainty_legend(plan))} {escape_markdown(claims_legend(plan))}", "")


def markdown_comparison(comparison: TextComparison) -> str:
    """Render the sweep beside the paper."""
    lines = [f"# {escape_markdown(comparison.title)}", "", *_markdown_notes(comparison)]
    for table in comparison.tables:
        lines += ["", f"## {escape_markdown(table.title)}", "", *_markdown_beside(table)]
    return "\n".join([*lines, "", _BEST_OF_COLUMN, ""])


def _markdown_notes(comparison: TextComparison) -> Iterator[str]:
    return (f"{escape_markdown(note)}  " for note in comparison.notes)


def _markdown_beside(table: ComparisonTable) -> Iterator[str]:
    """Render a part beside the paper: the paper's part, rows and notes."""
    yield from (escape_markdown(table.beside), "", *_results(table), "")
    yield from (f"- {escape_markdown(text)}" for text in (*table.orders, *table.notes))


def markdown_of_part(
    plan: PublishedPlan,
    table: TextTable,
    difference: PlainTable | None,
    ranks: PlainTable | None,
    reached: PlainTable | None,
    comparison: TextComparison | None,
) -> str:
    """Render one part as a page of its own: ours, then beside the paper.

    Args: difference: differences of its rows. ranks: ranks of its rows by all metrics. reached: FLOPs to reach
        targets. comparison: comparison of this part alone; None if the paper has no such part.
    """
    lines = [f"# {escape_markdown(table.title)}", "", *_markdown_part(table)]
    lines += [*_markdown_plain(difference, DIFFERENCE_LEGEND), *_markdown_plain(ranks, RANK_LEGEND)]
    lines += _markdown_plain(reached, REACH_LEGEND)
    lines += _markdown_legend(plan)
    for beside in comparison.tables if comparison else ():
        notes = _markdown_notes(comparison) if comparison else ()
        lines += ["## Beside the paper", "", *notes, "", *_markdown_beside(beside), "", _BEST_OF_COLUMN, ""]
    return "\n".join(lines)


def markdown_published(parts: Sequence[PublishedPart]) -> str:
    """Render the paper's numbers, with their protocols."""
    lines = ["# What the paper prints", ""]
    for part in parts:
        lines += [f"## {escape_markdown(part_title(part))}", "", escape_markdown(protocol_text(part)), ""]
        header = ("", *(f"{metric_title(metric)} {arrow(published_better(metric))}" for metric in part.metrics))
        rows = ([TextCell(row), *(_printed(part, row, metric) for metric in part.metrics)] for row in part.rows)
        lines += [*_markdown_rows(header, (map(_decorated, row) for row in rows)), ""]
    return "\n".join(lines)


def _printed(part: PublishedPart, row: str, metric: str) -> TextCell:
    value = part.values[row, metric]
    later = "" if value.correction is None else f" (camera-ready {value.correction})"
    choose = min if published_better(metric) == "lower" else max
    best = choose(part.values[other, metric].value for other in part.rows)
    return TextCell(f"{value.printed}{later}", best=value.value == best)


def _results(table: TextTable | ComparisonTable) -> Iterator[str]:
    """Render rows; the last column has the runs that their numbers come from, if there are any."""
    rows = [[*map(_decorated, row)] for row in table.rows]
    if not any(table.runs):
        return _markdown_rows(table.header, rows)
    return _markdown_rows(
        (*table.header, "runs"), ([*row, _links(runs)] for row, runs in zip(rows, table.runs, strict=True))
    )


def _links(runs: Sequence[RunLink]) -> str:
    """Render a link to each run, or its digest where it has no page."""
    return " ".join(f"[`{run.label}`]({run.url})" if run.url else f"`{run.label}`" for run in runs) or NOTHING


def _markdown_rows(header: Sequence[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield _pipes(map(escape_markdown, header))
    yield _pipes([":--", *["--:"] * (len(header) - 1)])
    yield from map(_pipes, rows)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _decorated(cell: TextCell) -> str:
    return f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text)


def escape_markdown(text: str) -> str:
    """Escape a text so that Markdown shows it as it is, in a table cell too."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", text)
