"""LaTeX that a real parser reads, with as many columns in each line as the table declares."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest
from pylatexenc.latexwalker import LatexCharsNode, LatexEnvironmentNode, LatexMacroNode, LatexNode, LatexWalker
from pylatexenc.latexwalker import get_default_latex_context_db as known_macros
from pylatexenc.macrospec import MacroSpec, std_environment

from analysis.comparison.compare import compare
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.latex import escape_latex, latex_comparison, latex_table
from analysis.report.latex_whole import latex_notes, latex_whole
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.text.comparison_text import TextComparison, make_text_comparison
from analysis.text.text_tables import make_text_tables
from tests.support.plans import beside_table2, evaluate_digest, make_plan, plan_document

HOSTILE = (
    "50% & more_x^2 ~ #1 $x$ {y} \\end{tabular} \\input{/etc/passwd}",
    "[2pt] after a line end",
    "* starred",
    "line\nbreak % not a comment",
    "<a|b> – × ± ↓ 10⁻³",
    "}}}",
    "\\",
    "a\\\\b",
)


def parsed(text: str) -> LatexEnvironmentNode:
    """The table of a LaTeX text, by a parser that tolerates nothing."""
    context = known_macros()
    context.add_context_category(
        "tables",
        macros=[
            MacroSpec("multicolumn", "{{{"),
            *(MacroSpec(name, "") for name in ("toprule", "midrule", "cmidrule", "bottomrule")),
        ],
        environments=[std_environment("tabular", "{")],
        prepend=True,
    )
    walker = LatexWalker(text, latex_context=context, tolerant_parsing=False)
    nodes, _, length = walker.get_latex_nodes()
    assert length == len(text)
    (table,) = [node for node in nodes if node.isNodeType(LatexEnvironmentNode)]
    assert table.environmentname == "tabular"
    return table


def widths(table: LatexEnvironmentNode) -> Iterator[int]:
    """Columns of each line of a table, wide cells counted as they span."""
    width, anything = 1, False
    for node in table.nodelist:
        if node.isNodeType(LatexMacroNode) and node.macroname == "\\":
            yield width
            width, anything = 1, False
            continue
        if node.isNodeType(LatexMacroNode) and node.macroname == "multicolumn":
            width += int(node.nodeargd.argnlist[0].nodelist[0].chars) - 1
        anything = anything or _is_text(node)
        width += getattr(node, "specials_chars", "") == "&"
    assert not anything, "text after the last line end"


def _is_text(node: LatexNode) -> bool:
    return bool(node.isNodeType(LatexCharsNode) and node.chars.strip())


def declared(text: str) -> int:
    (line,) = [line for line in text.splitlines() if line.startswith(r"\begin{tabular}")]
    return len(line.removeprefix(r"\begin{tabular}{").removesuffix("}"))


def records_of(plan: PublishedPlan) -> Mapping[str, Record]:
    numbers = {"fd": 3.5, "fd_standard_error": 0.1, "accuracy": 0.5}
    return {digest: Record("done", numbers) for digest in list(plan.evaluations)[1:]}


def whole(plan: PublishedPlan) -> str:
    records = records_of(plan)
    return latex_table(plan, make_text_tables(plan, make_sections(plan, measure(plan, records), records)))


def comparison_of(plan: PublishedPlan) -> TextComparison:
    records = records_of(plan)
    sections = make_sections(plan, measure(plan, records), records)
    comparison = make_text_comparison(plan, sections, compare(plan, sections))
    assert comparison is not None
    return comparison


def beside(plan: PublishedPlan) -> str:
    comparison = comparison_of(plan)
    return latex_comparison(comparison.tables[0], comparison)


def hostile_plan() -> PublishedPlan:
    document = plan_document(
        parts={"p": (*HOSTILE, "dfm"), HOSTILE[0]: ("a", "b")},
        published={"table": "table2", "metrics": {"fd": "fid_50k", "accuracy": "is"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    document |= {"title": HOSTILE[3]}
    document["metrics"] = [{**card, "title": HOSTILE[1]} for card in document["metrics"]]
    return parse_plan(json.dumps(document))


@pytest.mark.parametrize(
    "text",
    [
        whole(make_plan(seeds=(0, 1))),
        whole(hostile_plan()),
        beside(beside_table2()),
        beside(beside_table2(same_setting=True)),
        beside(hostile_plan()),
        latex_whole(comparison_of(beside_table2(same_setting=True))),
        latex_whole(comparison_of(hostile_plan())),
    ],
    ids=[
        "whole",
        "whole, hostile",
        "beside",
        "beside, same setting",
        "beside, hostile",
        "all parts beside",
        "all parts beside, hostile",
    ],
)
def test_a_parser_reads_the_table_and_every_line_has_all_its_columns(text: str) -> None:
    found = list(widths(parsed(text)))
    assert len(found) > 3
    assert set(found) == {declared(text)}


def test_the_parser_sees_what_is_wrong() -> None:
    text = whole(make_plan())
    with pytest.raises(Exception, match=r"[Uu]nexpected"):
        parsed(text.replace(r"\end{tabular}", r"\end{table}"))
    broken = text.replace("DFM & ", "DFM ", 1)
    assert len(set(widths(parsed(broken)))) == 2


def test_ours_and_the_papers_stand_under_the_metric_they_are_of() -> None:
    plan = beside_table2(same_setting=True)
    numbers = {"fd": 4.25, "fd_standard_error": 0.1, "accuracy": 150.0, "accuracy_standard_error": 1.0}
    records = {evaluate_digest("dfm", 200): Record("done", numbers)}
    sections = make_sections(plan, measure(plan, records), records)
    comparison = make_text_comparison(plan, sections, compare(plan, sections))
    assert comparison is not None
    lines = latex_comparison(comparison.tables[0], comparison).splitlines()
    assert lines[1:7] == [
        r"\begin{tabular}{lrrrrrr}",
        r"\toprule",
        r" & \multicolumn{3}{c}{FD-Lite0 $\downarrow$} & \multicolumn{3}{c}{label accuracy $\uparrow$} \\",
        r"\cmidrule(lr){2-4} \cmidrule(lr){5-7}",
        r" & ours & paper: FID 50K $\downarrow$ & verdict & ours & paper: IS $\uparrow$ & verdict \\",
        r"\midrule",
    ]
    assert lines[10] == (
        r"dfm & 4.25 $\pm$ 0.20 & \textbf{4.28} & cannot tell ($\times$0.99, 0.93 to 1.06; one seed: the spread over "
        r"seeds is unknown) & 150.0 $\pm$ 2.0 & \textbf{196.8} & $\times$0.76, 0.75 to 0.78 \\"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p₀ 0.7, τ 0.9", r"$p_0$ 0.7, $\tau$ 0.9"),
        ("x₁₂", "$x_{12}$"),
        ("H₂O", r"H\textsubscript{2}O"),
        ("DFM₀", r"DFM\textsubscript{0}"),
    ],
)
def test_a_letter_with_an_index_is_mathematics(text: str, expected: str) -> None:
    assert escape_latex(text) == expected


def test_all_parts_stand_in_one_table_and_its_notes_apart() -> None:
    comparison = comparison_of(beside_table2(same_setting=True))
    twice = replace(comparison, tables=comparison.tables * 2)
    text, notes = latex_whole(twice), latex_notes(twice)
    assert text.count(r"\begin{tabular}") == 1
    assert text.count(rf"\emph{{{escape_latex(comparison.tables[0].title)}}}") == 2
    assert comparison.notes
    for note in (*comparison.notes, comparison.tables[0].beside):
        assert escape_latex(note) in notes
        assert escape_latex(note) not in text


def test_a_verdict_is_a_mark_in_the_whole_table_and_words_in_its_notes() -> None:
    plan = beside_table2(same_setting=True)
    numbers = {"fd": 4.25, "fd_standard_error": 0.1, "accuracy": 150.0, "accuracy_standard_error": 1.0}
    records = {evaluate_digest("dfm", 200): Record("done", numbers)}
    sections = make_sections(plan, measure(plan, records), records)
    comparison = make_text_comparison(plan, sections, compare(plan, sections))
    assert comparison is not None
    lines = latex_whole(comparison).splitlines()
    assert lines[4:8] == [
        r" & \multicolumn{2}{c}{FD-Lite0 $\downarrow$} & \multicolumn{2}{c}{label accuracy $\uparrow$} \\",
        r"\cmidrule(lr){2-3} \cmidrule(lr){4-5}",
        r" & ours & paper & ours & paper \\",
        r" &  & FID 50K &  & IS \\",
    ]
    assert r"dfm & 4.25 $\pm$ 0.20\textsuperscript{x} & \textbf{4.28} & 150.0 $\pm$ 2.0 & \textbf{196.8} \\" in lines
    notes = latex_notes(comparison)
    assert r"FD-Lite0 $\downarrow$, ours beside the paper's: dfm: cannot tell ($\times$0.99, 0.93 to 1.06; one" in notes
    assert r"label accuracy $\uparrow$, ours beside the paper's: dfm: $\times$0.76, 0.75 to 0.78." in notes
    assert r"\textsuperscript{x} cannot tell" in notes


@pytest.mark.parametrize(("last", "shown"), [("4.0 ± 0.1 (n=2)", False), ("4.0 ± 0.1 (n=1)", True), ("missing", False)])
def test_a_number_of_seeds_that_all_have_is_said_in_the_notes(last: str, shown: bool) -> None:
    comparison = comparison_of(beside_table2(same_setting=True))
    table = comparison.tables[0]
    own = [replace(row[0], text=text) for row, text in zip(table.rows, ["3.5 ± 0.2 (n=2)"] * 9, strict=False)]
    own[-1] = replace(own[-1], text=last)
    counted = tuple(
        tuple(own[index] if (place - 1) % table.num_columns == 0 and place else cell for place, cell in enumerate(row))
        for index, row in enumerate(table.rows)
    )
    changed = replace(comparison, tables=(replace(table, rows=counted),))
    assert ("(n=2)" in latex_whole(changed)) == shown
    assert ("of so many seeds: n=2" in latex_notes(changed)) == (not shown)


def test_a_remark_in_a_parts_title_stands_in_the_notes_alone() -> None:
    comparison = comparison_of(beside_table2(same_setting=True))
    titled = replace(comparison.tables[0], title="(d) Parameters (the default is specialised)")
    titled_comparison = replace(comparison, tables=(titled,))
    assert r"\emph{(d) Parameters} \\" not in latex_whole(titled_comparison)
    assert r"{\emph{(d) Parameters}} \\" in latex_whole(titled_comparison)
    assert "(the default is specialised)" in latex_notes(titled_comparison)


def test_a_part_with_other_columns_has_a_table_of_its_own() -> None:
    comparison = comparison_of(beside_table2(same_setting=True))
    (table,) = comparison.tables
    width = 1 + table.num_columns
    narrow = replace(table, header=table.header[:width], rows=tuple(row[:width] for row in table.rows))
    assert latex_whole(replace(comparison, tables=(table, narrow))).count(r"\begin{tabular}") == 2
