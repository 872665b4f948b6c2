"""The table as Markdown and as LaTeX, the comparison as Markdown; every label escaped."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from analysis.best_text import SEPARATION_LEGEND
from analysis.comparison_text import TextComparison
from analysis.plan_types import PlanFile
from analysis.tables import TextCell, TextTable, uncertainty_legend

_WRAPPED = r"p{0.95\linewidth}"
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~$#])")


def markdown_table(plan: PlanFile, tables: Sequence[TextTable]) -> str:
    """The table as GitHub-flavoured Markdown."""
    lines = [f"# {escape_markdown(plan.title)}", ""]
    for table in tables:
        lines += [f"## {escape_markdown(table.title)}", ""]
        lines += [text for flag in table.flags for text in (f"**{escape_markdown(flag)}**", "")]
        lines += [*_markdown_rows(table.header, table.rows), ""]
        lines += [text for note in table.notes for text in (f"- {escape_markdown(note)}", "")]
    lines += [f"{escape_markdown(metric.title)}: {escape_markdown(metric.about)}.  " for metric in plan.metrics]
    lines += [f"Bold: best of its part. {escape_markdown(uncertainty_legend(plan))} {SEPARATION_LEGEND}", ""]
    return "\n".join(lines)


def markdown_comparison(comparison: TextComparison) -> str:
    """The sweep beside the paper as GitHub-flavoured Markdown."""
    lines = [f"# {escape_markdown(comparison.title)}", ""]
    lines += [f"{escape_markdown(note)}  " for note in comparison.notes]
    for table in comparison.tables:
        lines += ["", f"## {escape_markdown(table.title)}", "", escape_markdown(table.beside), ""]
        lines += [*_markdown_rows(table.header, table.rows), ""]
        lines += [f"- {escape_markdown(text)}" for text in (*table.orders, *table.notes)]
    return "\n".join([*lines, "", "Bold: best of its column, in our rows and in the paper's.", ""])


def _markdown_rows(header: Sequence[str], rows: Iterable[Sequence[TextCell]]) -> Iterator[str]:
    yield _pipes(map(escape_markdown, header))
    yield _pipes([":--", *["--:"] * (len(header) - 1)])
    yield from (_pipes(_decorated(cell, escape_markdown, "**{}**") for cell in row) for row in rows)


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _decorated(cell: TextCell, escape: Callable[[str], str], bold: str) -> str:
    return bold.format(escape(cell.text)) if cell.best else escape(cell.text)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a table cell too."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", text)


def latex_table(plan: PlanFile, tables: Sequence[TextTable]) -> str:
    r"""The table for \input in a paper; it needs the package booktabs."""
    width = len(tables[0].header) if tables else 1
    lines = [
        f"% {' '.join(plan.title.split())}; needs \\usepackage{{booktabs}}",
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
    ]
    if tables:
        lines.append(_ampersands(map(escape_latex, tables[0].header)))
    for table in tables:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(table.title)}}}}} \\"]
        lines += [
            rf"\multicolumn{{{width}}}{{{_WRAPPED}}}{{\textbf{{{escape_latex(flag)}}}}} \\" for flag in table.flags
        ]
        lines += [_ampersands(_decorated(cell, escape_latex, r"\textbf{{{}}}") for cell in row) for row in table.rows]
    legend = rf"\multicolumn{{{width}}}{{l}}{{\footnotesize {escape_latex(uncertainty_legend(plan))}}} \\"
    return "\n".join([*lines, r"\bottomrule", legend, r"\end{tabular}", ""])


def _ampersands(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


_RAISED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_LOWERED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}",  # after the line end of a table, [ and * would be its arguments
    "±": r"$\pm$", "×": r"$\times$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "–": "--",
}  # fmt: skip


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    text = "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
    return _RAISED.sub(lambda match: rf"\textsuperscript{{{match[0].translate(_LOWERED)}}}", text)
