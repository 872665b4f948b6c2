r"""Tables as LaTeX for \input in a paper; they need the package booktabs. Every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from analysis.plan.model import PublishedPlan
from analysis.results.run_links import RunLink
from analysis.text.comparison_text import ComparisonTable, TextComparison
from analysis.text.significance_text import claims_legend
from analysis.text.text_tables import PlainTable, TextCell, TextTable, uncertainty_legend

_WRAPPED = r"p{0.95\linewidth}"
OURS = "ours"


def latex_table(plan: PublishedPlan, tables: Sequence[TextTable]) -> str:
    """Render the whole table, one part below the other."""
    width = len(tables[0].header) if tables else 1
    lines = [latex_comment(plan.title), rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    if tables:
        lines.append(latex_line(map(escape_latex, tables[0].header)))
    for table in tables:
        lines += [r"\midrule", rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(table.title)}}}}} \\"]
        lines += [_across(width, rf"\textbf{{{escape_latex(caveat)}}}") for caveat in table.caveats]
        lines += latex_rows(table.rows, table.runs)
    notes = [note for table in tables for note in table.notes] + [uncertainty_legend(plan), claims_legend(plan)]
    return "\n".join([*lines, *_ending(width, notes)])


def latex_comparison(table: ComparisonTable, comparison: TextComparison) -> str:
    """Render one part beside the paper: for each metric ours, the paper's and, where values compare, the verdict.

    Args: comparison: comparison that the part belongs to, for the notes that hold for all its parts.
    """
    width, group = len(table.header), table.num_columns
    starts = range(1, width, group)
    named = [rf"\multicolumn{{{group}}}{{c}}{{{escape_latex(table.header[start])}}}" for start in starts]
    rules = " ".join(rf"\cmidrule(lr){{{start + 1}-{start + group}}}" for start in starts)
    columns = [title for start in starts for title in (OURS, *table.header[start + 1 : start + group])]
    lines = [
        latex_comment(f"{table.title}. {table.beside}"),
        rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}",
        r"\toprule",
    ]
    lines += [latex_line(["", *named]), rules, latex_line(["", *map(escape_latex, columns)]), r"\midrule"]
    lines += latex_rows(table.rows, table.runs)
    return "\n".join([*lines, *_ending(width, (table.beside, *comparison.notes, *table.orders, *table.notes))])


def latex_plain(title: str, table: PlainTable, legend: str) -> str:
    """Render a table of texts with a legend below, such as the differences of a part's rows from a reference row."""
    width = len(table.header)
    lines = [latex_comment(title), rf"\begin{{tabular}}{{l{'r' * (width - 1)}}}", r"\toprule"]
    lines += [latex_line(map(escape_latex, table.header)), r"\midrule"]
    lines += [latex_line(map(escape_latex, row)) for row in table.rows]
    return "\n".join([*lines, *_ending(width, [legend])])


def latex_comment(text: str) -> str:
    return f"% {' '.join(text.split()).rstrip('.')}; needs \\usepackage{{booktabs}}"


def latex_rows(rows: Iterable[Sequence[TextCell]], runs: Iterable[Sequence[RunLink]]) -> Iterator[str]:
    """Render rows, each under a comment with the runs that its numbers come from."""
    for row, links in zip(rows, runs, strict=True):
        if links:
            yield f"% {' '.join(link.url or link.label for link in links)}"
        yield latex_line(_decorated(cell) for cell in row)


def _decorated(cell: TextCell) -> str:
    return rf"\textbf{{{escape_latex(cell.text)}}}" if cell.best else escape_latex(cell.text)


def latex_line(cells: Iterable[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _across(width: int, text: str) -> str:
    return rf"\multicolumn{{{width}}}{{{_WRAPPED}}}{{{text}}} \\"


def _ending(width: int, notes: Iterable[str]) -> Iterator[str]:
    yield r"\bottomrule"
    yield from (_across(width, rf"\footnotesize {escape_latex(note)}") for note in notes)
    yield from (r"\end{tabular}", "")


_RAISED, _LOWERED = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵇᵉʷˣ]+"), re.compile("[₀₁₂₃₄₅₆₇₈₉]+")
_SYMBOL = re.compile("(?<![A-Za-z])([A-Za-z])([₀₁₂₃₄₅₆₇₈₉]+)(?![A-Za-z])")
"""A letter with an index, which is mathematics; not H₂O."""
_ON_THE_LINE = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ᵇᵉʷˣ₀₁₂₃₄₅₆₇₈₉", "0123456789-bewx0123456789")
_GREEK = dict(zip("αβγδεζηθκλμνξπρστφχψω", (
    "alpha", "beta", "gamma", "delta", "varepsilon", "zeta", "eta", "theta", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "varphi", "chi", "psi", "omega",
), strict=True))  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "[": "{[}", "*": "{*}",  # after the line end of a table, [ and * would be its arguments
    "±": r"$\pm$", "×": r"$\times$", "↓": r"$\downarrow$", "↑": r"$\uparrow$", "→": r"$\rightarrow$", "–": "--",
    "−": "$-$", "≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "∞": r"$\infty$", "·": r"$\cdot$", "…": r"\ldots{}",
    **{letter: rf"$\{name}$" for letter, name in _GREEK.items()},
}  # fmt: skip


def _index(lowered: str) -> str:
    digits = lowered.translate(_ON_THE_LINE)
    return digits if len(digits) == 1 else f"{{{digits}}}"


def escape_latex(text: str) -> str:
    """Escape a text so that LaTeX prints it as it is; pdfTeX knows only Latin letters, so other signs are commands."""
    text = "".join(_LATEX.get(character, character) for character in " ".join(text.split()))
    text = _RAISED.sub(lambda match: rf"\textsuperscript{{{match[0].translate(_ON_THE_LINE)}}}", text)
    text = _SYMBOL.sub(lambda match: f"${match[1]}_{_index(match[2])}$", text)
    return _LOWERED.sub(lambda match: rf"\textsubscript{{{match[0].translate(_ON_THE_LINE)}}}", text)
