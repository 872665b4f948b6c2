"""Results, and the comparison with the paper, on a terminal: aligned columns, long labels wrapped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.contract.printable import printable
from analysis.report.line_breaks import wrap_text
from analysis.text.comparison_text import TextComparison
from analysis.text.text_tables import TextCell, TextTable

_LABEL_WIDTH = 40
_MOST_ROWS = 30
"""Rows of a part; the report has all."""


def format_for_terminal(comparison: TextComparison) -> str:
    """Format the comparison with aligned columns and a star at the best of each."""
    lines = [_one_line(comparison.title), *comparison.notes]
    for table in comparison.tables:
        header = [f"{title}  " for title in table.header]
        lines += ["", _one_line(table.title), table.beside]
        lines += _aligned([header, *([_starred(cell) for cell in row] for row in table.rows)])
        lines += [_one_line(text) for text in (*table.orders, *table.notes)]
    return printable("\n".join([*lines, "", "* best of its column, in our rows and in the paper's."]))


def format_results(tables: Sequence[TextTable], num_metrics: int) -> str:
    """Format the metrics of each part with aligned columns, a star at the best of each, and what can be claimed.

    Args: num_metrics: columns after the label that hold metrics; costs stay in the report.
    """
    lines: list[str] = []
    for table in tables:
        header = [f"{title}  " for title in table.header[: num_metrics + 1]]
        rows = [[_starred(cell) for cell in row[: num_metrics + 1]] for row in table.rows]
        hidden = max(0, len(rows) - table.num_real_images - _MOST_ROWS)
        shown = [*rows[:_MOST_ROWS], *rows[len(rows) - table.num_real_images :]] if hidden else rows
        lines += ["", _one_line(table.title), *_aligned([header, *shown])]
        lines += [f"  and {hidden} rows more, in the report"] if hidden else []
        lines += [f"  {_one_line(note)}" for note in (*table.caveats, *table.notes)]
    return printable("\n".join(lines[1:]))


def _starred(cell: TextCell) -> str:
    return f"{_one_line(cell.text)}{' *' if cell.best else '  '}"


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align the first column to the left and wrap it, the others to the right."""
    labels = [list(wrap_text(first, _LABEL_WIDTH)) for first, *_ in rows]
    width = max(len(line) for lines in labels for line in lines)
    widths = [max(map(len, column)) for column in zip(*(others for _, *others in rows), strict=True)]
    for (first, *more), (_, *others) in zip(labels, rows, strict=True):
        padded = [text.rjust(wide) for text, wide in zip(others, widths, strict=True)]
        yield "  ".join(["", first.ljust(width), *padded]).rstrip()
        yield from (f"    {line}" for line in more)


def _one_line(text: str) -> str:
    return " ".join(text.split())
