"""A sweep beside the paper's table as one LaTeX table that fits a page, its notes apart."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from analysis.report.latex import OURS, escape_latex, latex_comment, latex_line, latex_rows
from analysis.text.comparison_text import ComparisonTable, TextComparison
from analysis.text.text_tables import NOTHING, TextCell

_PAPER = "paper"
_SMALL = r"\begingroup\footnotesize\setlength{\tabcolsep}{3pt}"
"""Three metrics beside the paper's so fit a page of one column."""
_BESIDE = 2
"""Columns of a metric where there are no verdicts: ours and the paper's."""
_MARKS = {"within": "ᵉ", "better": "ᵇ", "worse": "ʷ", "cannot tell": "ˣ"}
_MARK_LEGEND = (
    "Marks on our numbers: ᵉ within the margin of the paper's, ᵇ better, ʷ worse, ˣ cannot tell; a metric that makes "
    "no claims has none."
)
_COUNT = re.compile(r" \(n=\d+\)$")


def latex_whole(comparison: TextComparison) -> str:
    """Render all parts beside the paper as one table that fits a page, without notes: a heading for each part.

    Verdicts are marks on our numbers; in words, with what they rest on, they stand in the notes. A part with other
    columns than the one before, since it lacks a metric, stands below with columns of its own.
    """
    lines, same = [latex_comment(comparison.title)], _same_count(comparison)
    for header, tables in groupby(comparison.tables, lambda table: (table.header, table.num_columns)):
        titles, group = header
        starts = range(1, len(titles), group)
        width = 1 + 2 * len(starts)
        named = [rf"\multicolumn{{2}}{{c}}{{{escape_latex(titles[start])}}}" for start in starts]
        rules = " ".join(rf"\cmidrule(lr){{{column}-{column + 1}}}" for column in range(2, width, 2))
        theirs = [escape_latex(titles[start + 1].removeprefix(f"{_PAPER}: ").rstrip(" ↓↑")) for start in starts]
        lines += [_SMALL, rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule", latex_line(["", *named]), rules]
        lines += [latex_line(["", *(OURS, _PAPER) * len(starts)])]
        lines += [latex_line(["", *(cell for title in theirs for cell in ("", title))])]
        for table in tables:
            heading = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(_short(table.title))}}}}} \\"
            rows = [
                [row[0], *(cell for start in starts for cell in _marked(row[start : start + group], same))]
                for row in table.rows
            ]
            lines += [r"\midrule", heading, *latex_rows(rows, table.runs)]
        lines += [r"\bottomrule", r"\end{tabular}", r"\endgroup"]
    return "\n".join([*lines, ""])


def latex_notes(comparison: TextComparison) -> str:
    """Render what has to be said of the whole table: a paragraph for all parts, and one for each with its verdicts."""
    has_verdicts = any(table.num_columns > _BESIDE for table in comparison.tables)
    lines = [f"% Notes on: {' '.join(comparison.title.split())}", *map(escape_latex, comparison.notes)]
    lines += [escape_latex(_MARK_LEGEND)] if has_verdicts else []
    lines += (
        [f"All our numbers are of so many seeds: {same.strip(' ()')}."] if (same := _same_count(comparison)) else []
    )
    for table in comparison.tables:
        told = (table.beside, *table.orders, *table.notes, *_verdicts(table))
        lines += ["", rf"\emph{{{escape_latex(table.title)}.}} {' '.join(map(escape_latex, told))}"]
    return "\n".join([*lines, ""])


def _short(title: str) -> str:
    """Return a part's title without a remark in brackets at its end, which the notes have."""
    return re.sub(r"(?<=\S) \([^()]*\)$", "", title)


def _same_count(comparison: TextComparison) -> str:
    """Return the end of all our numbers that says of how many seeds they are, " (n=3)"; "" if they differ."""
    ours = [
        row[start].text
        for table in comparison.tables
        for row in table.rows
        for start in range(1, len(row), table.num_columns)
    ]
    counts = {found[0] if (found := _COUNT.search(text)) else "" for text in ours if any(map(str.isdigit, text))}
    return counts.pop() if len(counts) == 1 else ""


def _marked(cells: Sequence[TextCell], same: str) -> tuple[TextCell, TextCell]:
    """Return ours, with the mark of its verdict and without a number of seeds that all have, and the paper's."""
    ours, theirs, *verdict = cells
    mark = next((mark for cell in verdict for name, mark in _MARKS.items() if cell.text.startswith(name)), "")
    return replace(ours, text=f"{ours.text.removesuffix(same)}{mark}"), theirs


def _verdicts(table: ComparisonTable) -> Iterator[str]:
    """Yield the verdicts on the rows of a part, a sentence for each metric that has any."""
    if table.num_columns == _BESIDE:
        return
    for start in range(1, len(table.header), table.num_columns):
        column = start + table.num_columns - 1
        told = [f"{row[0].text}: {row[column].text}" for row in table.rows if row[column].text != NOTHING]
        if told:
            yield f"{table.header[start]}, ours beside the paper's: {'; '.join(told)}."
