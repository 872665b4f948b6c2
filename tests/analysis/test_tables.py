"""The table as text: numbers, marks and escaping."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from analysis.layouts import Cell, lay_out, measure
from analysis.markup import escape_latex, escape_markdown, latex_table, markdown_table
from analysis.plan_file import PlanFile
from analysis.records import Record
from analysis.tables import TextTable, cell_text, csv_table, decimals_for, scientific, text_tables
from tests.analysis.builders import evaluate_digest, make_plan

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "50%_x",
    "**bold** [l](u)",
    "$x$ & \\y #1 {z}~^",
    "line\nbreak",
    "[a]",
    "*",
)


def tables_of(plan: PlanFile, records: Mapping[str, Record]) -> tuple[TextTable, ...]:
    return text_tables(plan, lay_out(plan, measure(plan, records), records))


RECORDS = {
    "reference": Record("done", {"floor_fd": 1.25, "floor_accuracy": 0.97}),
    evaluate_digest("flow matching", 200): Record("done", {"fd": 31.4159, "accuracy": 0.5}),
    evaluate_digest("DFM", 200): Record("done", {"fd": 27.1828, "accuracy": 0.75}),
}


def test_markdown_is_as_written_by_hand() -> None:
    plan = make_plan()
    assert markdown_table(plan, tables_of(plan, RECORDS)).splitlines()[2:9] == [
        "## Part paradigm",
        "",
        "|  | FD-Lite0 ↓ | label accuracy ↑ | training steps | training FLOPs | network evaluations / image |",
        "| :-- | --: | --: | --: | --: | --: |",
        "| flow matching | 31.42 | 0.500 | 200 | 2.00 × 10¹¹ | 40 |",
        "| DFM | **27.18** | **0.750** | 200 | 2.00 × 10¹¹ | 40 |",
        "| real images | 1.25 | 0.970 | – | – | – |",
    ]


def test_latex_is_as_written_by_hand() -> None:
    plan = make_plan()
    lines = latex_table(plan, tables_of(plan, RECORDS)).splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrrrrr}", r"\toprule"]
    assert lines[3].startswith(r" & FD-Lite0 $\downarrow$ & label accuracy $\uparrow$ & training steps")
    assert r"DFM & \textbf{27.18} & \textbf{0.750} & 200 & 2.00 $\times$ 10\textsuperscript{11} & 40 \\" in lines
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]


def unequal_plan(flops: int, *, equal_compute: bool = True) -> PlanFile:
    """The second part's DFM was trained at `flops`, its other row at 2e11."""
    plan = make_plan(parts={"p": ("a", "b"), "q": ("flow matching", "DFM")})
    digest = evaluate_digest("DFM", 200)
    evaluations = {**plan.evaluations, digest: replace(plan.evaluations[digest], training_flops=flops)}
    return replace(plan, evaluations=evaluations, equal_compute=equal_compute)


@pytest.mark.parametrize(
    ("flops", "flag"),
    [
        (274 * 10**9, "Unequal training compute: rows differ by up to 37%."),
        (204 * 10**9, "Unequal training compute: rows differ by up to 2.0%."),
        (2000 * 10**9, "Unequal training compute: rows differ by up to 900%."),
        (0, "Unequal training compute: some rows are trained, others not at all."),
        (201 * 10**9, ""),
    ],
)
def test_a_part_of_unequal_compute_carries_a_flag(flops: int, flag: str) -> None:
    assert [table.flag for table in tables_of(unequal_plan(flops), {})] == ["", flag]


def test_the_flag_says_if_the_sweep_allows_unequal_compute() -> None:
    *_, table = tables_of(unequal_plan(274 * 10**9, equal_compute=False), {})
    assert table.flag == "Unequal training compute: rows differ by up to 37% (the sweep allows it)."


def test_the_flag_stands_under_its_own_part_in_markdown_and_latex() -> None:
    plan = unequal_plan(274 * 10**9)
    tables = tables_of(plan, RECORDS)
    markdown, latex = markdown_table(plan, tables).splitlines(), latex_table(plan, tables).splitlines()
    (place,) = [index for index, line in enumerate(markdown) if "Unequal" in line]
    assert markdown[place - 2 : place + 2] == [
        "| real images | 1.25 | 0.970 | – | – | – |",
        "",
        "**Unequal training compute: rows differ by up to 37%.**",
        "",
    ]
    assert latex[-3:] == [
        r"\multicolumn{6}{l}{\textbf{Unequal training compute: rows differ by up to 37\%.}} \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
    assert "Unequal" not in "".join(latex[:-3])


def test_csv_has_a_line_for_every_measurement_at_full_precision() -> None:
    value = 0.1 + 0.2
    records = {
        evaluate_digest("DFM", 100): Record("failed"),
        evaluate_digest("DFM", 200): Record("done", {"fd": value, "accuracy": math.nan}),
    }
    lines = list(csv.DictReader(io.StringIO(csv_table(measure(make_plan(), records)))))
    columns = "part,row,seed,step,metric,better,value,status,digest,training_flops,training_images"
    assert list(lines[0]) == columns.split(",")
    assert len(lines) == 8
    assert float(lines[6]["value"]) == value
    assert (lines[7]["value"], lines[7]["better"], lines[7]["training_images"]) == ("nan", "higher", "6400")
    assert [(line["value"], line["status"]) for line in lines[3:5]] == [("", "missing"), ("", "failed")]


def test_hostile_labels_come_back_whole_from_csv() -> None:
    plan = make_plan(parts={"p": HOSTILE})
    lines = list(csv.DictReader(io.StringIO(csv_table(measure(plan, {})))))
    assert list(dict.fromkeys(line["row"] for line in lines)) == list(HOSTILE)


@pytest.mark.parametrize("label", HOSTILE)
def test_a_hostile_label_neither_adds_nor_removes_columns(label: str) -> None:
    plan = make_plan(parts={"p": (label,)})
    tables = tables_of(plan, {})
    (line,) = markdown_table(plan, tables).splitlines()[6:7]
    assert line.replace(r"\|", "").count("|") == 7
    (row,) = [line for line in latex_table(plan, tables).splitlines() if line.endswith(r" & 40 \\")]
    assert row.replace(r"\&", "").count("&") == 5


@pytest.mark.parametrize(
    ("text", "markdown", "latex"),
    [
        ("<script>", "&lt;script&gt;", r"\textless{}script\textgreater{}"),
        ("a|b", r"a\|b", r"a\textbar{}b"),
        ("50%_x", r"50%\_x", r"50\%\_x"),
        ("a & b", "a &amp; b", r"a \& b"),
        (r"\input{x}", r"\\input{x}", r"\textbackslash{}input\{x\}"),
        ("$1^2$ ~ #3", r"\$1^2\$ \~ \#3", r"\$1\textasciicircum{}2\$ \textasciitilde{} \#3"),
        ("*[x]\ny", r"\*\[x\] y", "{*}{[}x] y"),
        ("1 × 10⁻³ ± ↓", "1 × 10⁻³ ± ↓", r"1 $\times$ 10\textsuperscript{-3} $\pm$ $\downarrow$"),
    ],
)
def test_text_is_escaped(text: str, markdown: str, latex: str) -> None:
    assert escape_markdown(text) == markdown
    assert escape_latex(text) == latex


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (Cell("done", 12.344, None, 1, 1), "12.34"),
        (Cell("done", 12.344, 0.5, 3, 3), "12.34 ± 0.50 (n=3)"),
        (Cell("done", 12.344, 0.5, 2, 3), "12.34 ± 0.50 (n=2 of 3)"),
        (Cell("done", 12.344, None, 1, 3), "12.34 (n=1 of 3)"),
        (Cell("done", math.nan, None, 1, 1), "nan"),
        (Cell("missing"), "missing"),
        (Cell("running"), "running"),
        (Cell("failed"), "failed"),
        (Cell("not planned"), "–"),
    ],
)
def test_a_cell_reads_as_it_should(cell: Cell, text: str) -> None:
    assert cell_text(cell, 2).text == text


@pytest.mark.parametrize(
    ("largest", "decimals"), [(31.4, 2), (314.0, 1), (31415.0, 0), (3.1, 3), (0.97, 3), (0.0123, 5), (0.0, 3)]
)
def test_decimals_show_four_digits_of_the_largest(largest: float, decimals: int) -> None:
    assert decimals_for(largest) == decimals


def test_large_numbers_are_powers_of_ten() -> None:
    assert [scientific(value) for value in (6.38e12, 9.999e9, 0)] == ["6.38 × 10¹²", "1.00 × 10¹⁰", "0"]
