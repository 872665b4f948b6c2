"""The table as text: numbers, marks and escaping."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from analysis.plan.model import PublishedPlan
from analysis.plan.protocol import parse_protocol
from analysis.plan.read import parse_plan
from analysis.records.about import parse_about
from analysis.records.record import Record
from analysis.report.latex import escape_latex, latex_table
from analysis.report.markdown import escape_markdown, markdown_table
from analysis.results.cells import Cell
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.text.numbers import decimals_for, scientific
from analysis.text.text_tables import TextTable, cell_text, csv_table, make_text_tables
from tests.support.plans import about, change_protocols, evaluate_digest, make_plan, plan_document, protocol

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


def tables_of(plan: PublishedPlan, records: Mapping[str, Record]) -> tuple[TextTable, ...]:
    return make_text_tables(plan, make_sections(plan, measure(plan, records), records))


LATEX_LEGEND = (
    r"\multicolumn{6}{p{0.95\linewidth}}{\footnotesize $\pm$: 95\% interval of the error of finite samples, of one "
    r"seed; what another seed would give is not in it.} \\"
)
RECORDS = {
    "floor": Record("done", {"fd": 1.25, "accuracy": 0.97}),
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
        "| DFM | **27.18** | 0.750 | 200 | 2.00 × 10¹¹ | 40 |",
        "| real images | 1.25 | 0.970 | – | – | – |",
    ]


def test_latex_is_as_written_by_hand() -> None:
    plan = make_plan()
    lines = latex_table(plan, tables_of(plan, RECORDS)).splitlines()
    assert lines[1:3] == [r"\begin{tabular}{lrrrrr}", r"\toprule"]
    assert lines[3].startswith(r" & FD-Lite0 $\downarrow$ & label accuracy $\uparrow$ & training steps")
    assert r"DFM & \textbf{27.18} & 0.750 & 200 & 2.00 $\times$ 10\textsuperscript{11} & 40 \\" in lines
    assert lines[-6] == r"\bottomrule"
    assert lines[-3] == LATEX_LEGEND
    assert lines[-1] == r"\end{tabular}"


def with_errors(plan: PublishedPlan) -> dict[str, Record]:
    """A finished sweep whose distances have standard errors."""
    values = {"flow matching": 31.4159, "DFM": 27.1828}
    records = {"floor": Record("done", {"fd": 1.25, "fd_standard_error": 0.001, "accuracy": 0.97})}
    for digest, task in plan.evaluations.items():
        value = values[task.title.partition(" @ ")[0]]
        records[digest] = Record("done", {"fd": value, "fd_standard_error": 0.271, "accuracy": 0.5})
    return records


def test_a_table_of_one_seed_shows_intervals_of_samples_and_says_so() -> None:
    plan = make_plan()
    markdown = markdown_table(plan, tables_of(plan, with_errors(plan))).splitlines()
    assert [line.split(" | ")[1] for line in markdown[6:9]] == ["31.42 ± 0.53", "**27.18 ± 0.53**", "1.2500 ± 0.0020"]
    assert (
        "±: 95% interval of the error of finite samples, of one seed; what another seed would give is not in it."
        in markdown[-1]
    )


def test_a_table_of_several_seeds_shows_intervals_and_says_so() -> None:
    plan = make_plan(seeds=(0, 1))
    tables = tables_of(plan, with_errors(plan))
    markdown = markdown_table(plan, tables).splitlines()
    assert [line.split(" | ")[1] for line in markdown[6:9]] == [
        "31.42 ± 0.53 (n=2)",
        "**27.18 ± 0.53 (n=2)**",
        "1.2500 ± 0.0020",
    ]
    legend = (
        "±: 95% interval of the mean over n seeds, of their spread and the error of finite samples; "
        "of a single seed that of samples alone."
    )
    assert legend in markdown[-1]
    assert [
        line for line in latex_table(plan, tables).splitlines() if r"95\% interval of the mean over n seeds" in line
    ]


def test_rows_of_different_protocols_stand_under_their_flag_and_none_is_bold() -> None:
    document = plan_document()
    change_protocols(document, "DFM", num_samples=10_000)
    plan = parse_plan(json.dumps(document))
    tables = tables_of(plan, RECORDS)
    markdown = markdown_table(plan, tables).splitlines()
    caveat = "FD-Lite0, label accuracy: no row is best, since they were measured differently: "
    assert markdown[4] == rf"**{caveat}num\_samples is 500 (flow matching) and 10,000 (DFM).**"
    assert "| DFM | 27.18 | 0.750 |" in markdown[9]
    latex = latex_table(plan, tables).splitlines()
    escaped = rf"{caveat}num\_samples is 500 (flow matching) and 10,000 (DFM)."
    assert latex[6] == rf"\multicolumn{{6}}{{p{{0.95\linewidth}}}}{{\textbf{{{escaped}}}}} \\"


def unequal_plan(flops: int, *, equal_compute: bool = True) -> PublishedPlan:
    """The second part's DFM was trained at `flops`, its other row at 2e11."""
    plan = make_plan(parts={"p": ("a", "b"), "q": ("flow matching", "DFM")})
    digest = evaluate_digest("DFM", 200)
    evaluations = {**plan.evaluations, digest: replace(plan.evaluations[digest], training_flops=flops)}
    return replace(plan, evaluations=evaluations, equal_compute=equal_compute)


@pytest.mark.parametrize(
    ("flops", "caveat"),
    [
        (274 * 10**9, "Unequal training compute: rows differ by up to 37%."),
        (204 * 10**9, "Unequal training compute: rows differ by up to 2.0%."),
        (2000 * 10**9, "Unequal training compute: rows differ by up to 900%."),
        (0, "Unequal training compute: some rows are trained, others not at all."),
        (201 * 10**9, ""),
    ],
)
def test_a_part_of_unequal_compute_carries_a_flag(flops: int, caveat: str) -> None:
    assert [table.caveats for table in tables_of(unequal_plan(flops), {})] == [(), (caveat,) if caveat else ()]


def test_the_flag_says_if_the_sweep_allows_unequal_compute() -> None:
    *_, table = tables_of(unequal_plan(274 * 10**9, equal_compute=False), {})
    assert table.caveats == ("Unequal training compute: rows differ by up to 37% (the sweep allows it).",)


def test_the_flag_stands_above_the_table_of_its_own_part_in_markdown_and_latex() -> None:
    plan = unequal_plan(274 * 10**9)
    tables = tables_of(plan, RECORDS)
    markdown, latex = markdown_table(plan, tables).splitlines(), latex_table(plan, tables).splitlines()
    (place,) = [index for index, line in enumerate(markdown) if "Unequal" in line]
    assert markdown[place - 2 : place + 2] == [
        "## Part q",
        "",
        "**Unequal training compute: rows differ by up to 37%.**",
        "",
    ]
    caveat = r"\multicolumn{6}{p{0.95\linewidth}}{\textbf{Unequal training compute: rows differ by up to 37\%.}} \\"
    assert [line for line in latex if "Unequal" in line] == [caveat]
    assert latex[latex.index(caveat) - 1] == r"\multicolumn{6}{l}{\emph{Part q}} \\"


def test_csv_has_a_line_for_every_measurement_at_full_precision() -> None:
    value = 0.1 + 0.2
    records = {
        evaluate_digest("DFM", 100): Record("failed"),
        evaluate_digest("DFM", 200): Record("done", {"fd": value, "accuracy": math.nan}),
    }
    lines = list(csv.DictReader(io.StringIO(csv_table(measure(make_plan(), records)))))
    columns = "part,row,seed,step,metric,better,value,standard_error,status,protocol,digest,source,training_flops"
    assert list(lines[0]) == [*columns.split(","), "training_images"]
    assert len(lines) == 8
    assert float(lines[6]["value"]) == value
    assert (lines[7]["value"], lines[7]["better"], lines[7]["training_images"]) == ("nan", "higher", "6400")
    assert [(line["value"], line["status"]) for line in lines[3:5]] == [("", "missing"), ("", "failed")]


def test_csv_has_the_standard_error_and_the_id_of_the_protocol_of_each_measurement() -> None:
    document = plan_document(seeds=(0, 1))
    change_protocols(document, "flow matching", guidance=1.5)
    del document["tasks"][evaluate_digest("flow matching", 100, 0)]["protocols"]["fd"]
    plan = parse_plan(json.dumps(document))
    said = parse_about(json.loads(about(num_samples=400)))
    records = {
        evaluate_digest("DFM", 200, 0): Record("done", {"fd": 4.0, "fd_standard_error": 0.1 + 0.2}),
        evaluate_digest("DFM", 200, 1): Record("done", {"fd": 5.0, "fd_standard_error": -1.0}, about=said),
    }
    lines = list(csv.DictReader(io.StringIO(csv_table(measure(plan, records)))))
    found = {
        (line["row"], line["seed"], line["step"]): (line["standard_error"], line["protocol"])
        for line in lines
        if line["metric"] == "fd"
    }
    assert found["DFM", "0", "200"] == (repr(0.1 + 0.2), parse_protocol(protocol("fd")).id)
    assert found["DFM", "1", "200"] == ("", parse_protocol(protocol("fd", num_samples=400)).id)
    assert found["DFM", "0", "100"] == ("", parse_protocol(protocol("fd")).id)
    assert found["flow matching", "0", "200"] == ("", parse_protocol(protocol("fd", guidance=1.5)).id)
    assert found["flow matching", "0", "100"] == ("", "")


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
        ("p₀ → τ ≥ 0.7…", "p₀ → τ ≥ 0.7…", r"$p_0$ $\rightarrow$ $\tau$ $\geq$ 0.7\ldots{}"),
        ("Fréchet", "Fréchet", "Fréchet"),
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
        (Cell("done", 12.344, None, 1, 3, unfinished="failed"), "12.34 (n=1 of 3; failed)"),
        (Cell("done", 12.344, None, 1, 3, unfinished="missing"), "12.34 (n=1 of 3)"),
        (Cell("done", 12.344, 0.126, 1, 1), "12.34 ± 0.13"),
        (Cell("done", 12.344, 0.0, 1, 1), "12.34"),
        (Cell("done", 12.344, 0.004, 1, 1), "12.3440 ± 0.0040"),
        (Cell("done", 12.344, 0.004, 3, 3), "12.3440 ± 0.0040 (n=3)"),
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


def searched(
    objectives: Mapping[str, str],
    best: tuple[str, ...],
    states: tuple[str, ...],
    brackets: tuple[tuple[int, ...], ...] = (),
) -> PublishedPlan:
    """The small plan, its part a search. Args: brackets: of HyperBand."""
    document = plan_document()
    trials = [{"row": "", "number": n, "settings": {}, "state": state} for n, state in enumerate(states)]
    search = {"objectives": dict(objectives), "num_trials": 9, "best": list(best), "trials": trials}
    if brackets:
        search["brackets"] = [list(bracket) for bracket in brackets]
    document["parts"][0]["search"] = search
    return parse_plan(json.dumps(document))


def test_brackets_of_hyperband_are_said_with_how_many_went_to_the_end() -> None:
    states = ("complete", "complete", "pruned", "complete", "refused")
    plan = searched({"fd": "minimize"}, ("DFM",), states, brackets=((0, 1), (2, 3)))
    (caveat,) = tables_of(plan, RECORDS)[0].caveats
    assert " HyperBand compared these trials with each other: 0, 1 (2 to the end); 2, 3 (1 to the end)." in caveat


def test_the_best_trial_of_a_search_is_bold_and_the_table_shows_its_progress() -> None:
    plan = searched({"fd": "minimize"}, ("DFM",), ("complete", "complete", "refused"))
    (table,) = tables_of(plan, RECORDS)
    assert [row[0].best for row in table.rows] == [False, True, False]
    assert table.caveats == (
        (
            "Trials of a search, by their objectives (2 complete, 1 refused; 9 wanted); bold labels are the one that "
            "leads (minimize fd). The best of many trials was lucky, too; `confirm: {seeds: [...]}` measures it on new "
            "seeds."
        ),
    )


def test_of_two_objectives_the_pareto_front_is_bold() -> None:
    plan = searched({"fd": "minimize", "sampling_flops": "minimize"}, ("DFM", "flow matching"), ("complete",) * 2)
    (table,) = tables_of(plan, RECORDS)
    assert [row[0].best for row in table.rows] == [True, True, False]
    assert "bold labels are the Pareto front (minimize fd, minimize sampling_flops)" in table.caveats[0]


def test_a_search_that_has_no_trial_yet_is_an_empty_table() -> None:
    document = plan_document(parts={"p": ()})
    document["parts"][0]["search"] = {"objectives": {"fd": "minimize"}, "num_trials": 9, "best": [], "trials": []}
    (table,) = tables_of(parse_plan(json.dumps(document)), {})
    assert table.rows == ()
    assert "(none yet; 9 wanted)" in table.caveats[0]
