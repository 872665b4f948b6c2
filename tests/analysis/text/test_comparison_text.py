"""The comparison in words, in Markdown and on a terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from analysis.comparison.compare import compare
from analysis.comparison.row_order import Order
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.markdown import markdown_comparison
from analysis.report.terminal import format_for_terminal
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.text.comparison_text import TextComparison, make_text_comparison
from analysis.text.order_text import order_sentence
from analysis.text.published_text import metric_title
from tests.support.plans import beside_table2, change_protocols, evaluate_digest, make_plan, plan_document

OTHER_SETTING = (
    "Not comparable: the paper's values are of another dataset, model and metric; only the order of the rows compares."
)
SEVERAL_SEEDS = (
    "Two rows are resolved by our seeds if the tests behind the table's claims tell them apart, by the primary metric."
)
NO_TAU = "No Kendall's tau: fewer than three rows have both values, or one side ties them all."
SPREAD = "±: 95% interval of the error of finite samples, of one seed; what another seed would give is not in it."
ORDER = Order(6, 4, 1, 1, 5, 0, ("dfm",), ("dfm",), best_agrees=True, best_resolved=True)


def in_words(plan: PublishedPlan, records: Mapping[str, Record]) -> TextComparison | None:
    sections = make_sections(plan, measure(plan, records), records)
    return make_text_comparison(plan, sections, compare(plan, sections))


def done(fd: float, accuracy: float) -> Record:
    return Record("done", {"fd": fd, "accuracy": accuracy})


RECORDS = {
    evaluate_digest("flow_matching", 200): done(31.0, 0.25),
    evaluate_digest("cascaded", 200): Record("failed"),
    evaluate_digest("dfm", 200): done(20.0, 0.5),
    evaluate_digest("ours", 200): done(18.0, 0.75),
}


@pytest.mark.parametrize(
    ("order", "sentence"),
    [
        (
            ORDER,
            (
                "4 of 6 pairs agree, 1 disagrees, 1 not resolved by our seeds (by the means alone 5 of 6 agree); "
                "the best agrees (dfm)."
            ),
        ),
        (
            Order(3, 1, 2, 0, 1, 0, ("a", "b"), ("c",), best_agrees=False, best_resolved=True),
            "1 of 3 pairs agree, 2 disagree; the best does not agree (a, b in the paper; c here).",
        ),
        (
            Order(1, 0, 0, 1, 1, 0, ("a",), ("a",), best_agrees=True, best_resolved=False),
            (
                "0 of 1 pairs agree, 1 not resolved by our seeds (by the means alone 1 of 1 agree); "
                "the best is not resolved by our seeds (best mean: a)."
            ),
        ),
        (
            Order(5, 0, 0, 5, 4, 1, ("b",), ("a",), best_agrees=False, best_resolved=False, makes_claims=False),
            "by the means alone 4 of 5 pairs agree, 1 left out as tied in the paper; best mean: a, in the paper b.",
        ),
        (
            Order(0, 0, 0, 0, 0, 1, ("a", "b"), ("a",), best_agrees=True, best_resolved=False),
            "no order to compare, since the paper prints the same number for all rows.",
        ),
        (None, "no order to compare, since fewer than two rows have both values."),
    ],
)
def test_an_order_reads_as_it_should(order: Order | None, sentence: str) -> None:
    assert order_sentence(order) == sentence


@pytest.mark.parametrize(("name", "title"), [("fid_50k", "FID 50K"), ("is", "IS"), ("frame_fid_10k", "FRAME FID 10K")])
def test_published_metrics_have_titles(name: str, title: str) -> None:
    assert metric_title(name) == title


def test_markdown_is_as_written_by_hand() -> None:
    comparison = in_words(beside_table2(), RECORDS)
    assert comparison is not None
    assert markdown_comparison(comparison).splitlines() == [
        "# A small sweep, beside the paper's Table 2",
        "",
        f"{OTHER_SETTING}  ",
        (
            "One seed: no difference between our rows is resolved, so that what agrees, or does not, may be chance; "
            "intervals are of the error of samples alone.  "
        ),
        f"{SPREAD}  ",
        "",
        "## Part main",
        "",
        (
            r"Paper: Table 2, imagenet\_512, guidance 1.5, page 8, section 4.4: ImageNet, 512 px, DiT-XL/2, "
            "500,000 steps; 50,000 samples, Euler, 40 steps (DFM 30 + 10, threshold 0.7; Cascaded 20 + 20)."
        ),
        "",
        "|  | FD-Lite0 ↓ | paper: FID 50K ↓ | label accuracy ↑ | paper: IS ↑ |",
        "| :-- | --: | --: | --: | --: |",
        r"| flow\_matching | 31.00 | 4.73 | 0.250 | 138.9 |",
        "| cascaded | failed | 5.68 | failed | 118.1 |",
        r"| pyramidal\_flow | missing | 4.57 | missing | 191.0 |",
        "| dfm | 20.00 | **4.28** | 0.500 | **196.8** |",
        "| ours | **18.00** | – | 0.750 | – |",
        "",
        f"- FD-Lite0: by the means alone 1 of 1 pairs agree; best mean: dfm. {NO_TAU}",
        f"- label accuracy: by the means alone 1 of 1 pairs agree; best mean: dfm. {NO_TAU}",
        "- Not in the paper, and in no order here: ours.",
        "",
        "Bold: best of its column, in our rows and in the paper's.",
    ]


def test_a_terminal_shows_aligned_columns() -> None:
    comparison = in_words(beside_table2(), RECORDS)
    assert comparison is not None
    lines = format_for_terminal(comparison).splitlines()
    assert lines[7:13] == [
        "                  FD-Lite0 ↓    paper: FID 50K ↓    label accuracy ↑    paper: IS ↑",
        "  flow_matching        31.00                4.73               0.250          138.9",
        "  cascaded            failed                5.68              failed          118.1",
        "  pyramidal_flow     missing                4.57             missing          191.0",
        "  dfm                  20.00                4.28 *             0.500          196.8 *",
        "  ours                 18.00 *                 –               0.750              –",
    ]


def with_errors(share: float = 0.01) -> dict[str, Record]:
    """The records, each number with a standard error."""
    return {
        digest: replace(
            record, metrics={**record.metrics, **{f"{k}_standard_error": share * v for k, v in record.metrics.items()}}
        )
        for digest, record in RECORDS.items()
    }


def test_a_long_label_is_wrapped_between_its_words_on_a_terminal() -> None:
    label = "training.first_stage_probability=0.95, sampling.tau=[0.7, 0.9]"
    document = plan_document(
        parts={"p": (label, "dfm")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    lines = format_for_terminal(comparison).splitlines()
    (place,) = [index for index, line in enumerate(lines) if line.startswith("  training.")]
    assert lines[place].split("  ")[1] == "training.first_stage_probability=0.95,"
    assert lines[place + 1] == "    sampling.tau=[0.7, 0.9]"


def test_of_the_same_setting_the_verdict_stands_beside_and_the_warning_is_gone() -> None:
    comparison = in_words(beside_table2(same_setting=True), with_errors())
    assert comparison is not None
    assert comparison.notes[0].startswith("× is ours / paper, with the 95% interval for one more run")
    assert "Within ±10%: the whole interval lies in that margin." in comparison.notes[0]
    (table,) = comparison.tables
    assert table.header[1:4] == ("FD-Lite0 ↓", "paper: FID 50K ↓", "verdict")
    assert [[cell.text for cell in row[:4]] for row in table.rows][2:] == [
        ["pyramidal_flow", "missing", "4.57", "–"],
        [
            "dfm",
            "20.00 ± 0.39",
            "4.28",
            "cannot tell (×4.67, 4.54 to 4.80; one seed: the spread over seeds is unknown)",
        ],
        ["ours", "18.00 ± 0.35", "–", "–"],
    ]


def verdicts(**measured: Mapping[str, object]) -> tuple[str, ...]:
    comparison = in_words(beside_table2(same_setting=True, measured=measured), with_errors())
    assert comparison is not None
    return comparison.tables[0].orders


def test_a_metric_of_other_samples_than_the_papers_has_no_verdict_but_this() -> None:
    rows = ("flow_matching", "cascaded", "pyramidal_flow", "dfm", "ours")
    plan = beside_table2(same_setting=True, measured={row: {"num_samples": 10_000} for row in rows})
    comparison = in_words(plan, RECORDS)
    assert comparison is not None
    (table,) = comparison.tables
    assert table.orders == (
        "FD-Lite0: not comparable: 10,000 samples, the paper's 50,000.",
        "label accuracy: not comparable: 10,000 samples, the paper's 50,000.",
    )
    assert [row[3].text for row in table.rows] == ["not comparable"] * 4 + ["–"]


def test_rows_of_other_guidance_are_named_beside_the_order_of_the_rest() -> None:
    assert verdicts(dfm={"guidance": 1.0})[0] == (
        "FD-Lite0: no order to compare, since fewer than two rows have both values. "
        "Not comparable: guidance 1, the paper's 1.5 (dfm)."
    )
    assert verdicts(cascaded={"guidance": 1.0}, pyramidal_flow={"guidance": 1.25})[0] == (
        f"FD-Lite0: by the means alone 1 of 1 pairs agree; best mean: dfm. {NO_TAU} "
        "Not comparable: guidance 1, the paper's 1.5 (cascaded); guidance 1.25, the paper's 1.5 (pyramidal_flow)."
    )


def test_our_own_rows_of_different_protocols_have_no_order_and_their_flag_is_noted() -> None:
    document = plan_document(
        parts={"p": ("dfm", "cascaded")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    change_protocols(document, "dfm", num_samples=400)
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    (table,) = comparison.tables
    assert table.orders == ("FD-Lite0: no order to compare, since our own rows do not compare by it.",)
    assert table.notes[0] == (
        "FD-Lite0, label accuracy: no row is best, since they were measured differently: "
        "num_samples is 400 (dfm) and 500 (cascaded)."
    )


def test_several_seeds_are_said_to_resolve_what_their_intervals_do() -> None:
    records = {
        evaluate_digest(row, 200, seed): done(fd + (seed * step) % 3 / 10, 0.5)
        for row, fd, step in (("flow_matching", 31.0, 1), ("pyramidal_flow", 20.05, 2), ("dfm", 20.0, 1))
        for seed in (0, 1, 2)
    }
    comparison = in_words(beside_table2(seeds=(0, 1, 2)), records)
    assert comparison is not None
    assert SEVERAL_SEEDS in comparison.notes
    assert comparison.tables[0].orders[0] == (
        "FD-Lite0: 2 of 3 pairs agree, 1 not resolved by our seeds (by the means alone 3 of 3 agree); "
        "the best is not resolved by our seeds (best mean: dfm). "
        "Kendall's tau 1.00 (n = 3 rows; 95% interval 0.33 to 1.00, of seeds; as far from 0 by chance: p = 0.33; the "
        "paper's values as exact)."
    )
    assert comparison.tables[0].rows[3][1].text == "20.10 ± 0.25 (n=3)"


def test_a_correction_of_the_camera_ready_text_is_noted() -> None:
    document = plan_document(
        parts={"f": ("512-1024", "256-512-1024", "256-1024")},
        published={"table": "table1", "metrics": {"fd": "fid_10k", "accuracy": "is"}, "same_setting": True},
        counterparts={"f": {"part": "f_input_decomposition", "guidance": None}},
    )
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    (table,) = comparison.tables
    assert [row[2].text for row in table.rows] == ["58.03", "50.61", "41.06"]
    (note,) = table.notes
    changes = "FID 10K 40.60 for 50.61, IS 31.8 for 24.5"
    assert note == f"256-512-1024: the paper's camera-ready text prints {changes}; compared is arXiv v1."


def test_a_table_of_the_camera_ready_text_alone_says_so() -> None:
    document = plan_document(
        parts={"p": ("dfm/dwt", "dfm/dct")},
        published={"table": "decompositions", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    assert comparison.title.endswith("beside the paper's table of decompositions")
    assert comparison.tables[0].notes == (
        "In the paper, and not among our rows: dfm/laplacian, flow_matching.",
        "Printed in the paper's camera-ready text only.",
    )


def test_unequal_compute_is_noted() -> None:
    document = plan_document(
        parts={"p": ("dfm", "cascaded")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    document["tasks"][evaluate_digest("dfm", 200)]["training_flops"] *= 2
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    assert comparison.tables[0].notes[0] == "Unequal training compute: rows differ by up to 100%."


def test_of_a_value_without_an_error_one_cannot_tell() -> None:
    records = {**with_errors(), evaluate_digest("dfm", 200): done(20.0, 0.5)}
    comparison = in_words(beside_table2(same_setting=True), records)
    assert comparison is not None
    (table,) = comparison.tables
    assert table.rows[3][3].text == "cannot tell (×4.67; the error of our value is not known)"


def test_a_plan_without_counterparts_has_no_comparison() -> None:
    assert in_words(make_plan(), {}) is None


def test_hostile_labels_neither_add_columns_nor_lines() -> None:
    label = "a|b\n**c** <script>"
    document = plan_document(
        parts={"p": (label, "dfm")},
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"p": {"part": "imagenet_512", "guidance": 1.0}},
    )
    comparison = in_words(parse_plan(json.dumps(document)), {})
    assert comparison is not None
    assert not [line for line in format_for_terminal(comparison).splitlines() if line.startswith("**c**")]
    (row,) = [line for line in markdown_comparison(comparison).splitlines() if line.startswith(r"| a\|b")]
    assert row == r"| a\|b \*\*c\*\* &lt;script&gt; | missing | – |"
    (line,) = [
        line for line in format_for_terminal(comparison).splitlines() if line.startswith("  a|b **c** <script>  ")
    ]
    assert line.split()[-2:] == ["missing", "–"]
