"""Rows over all parts: by hand, beside a test of one part, and as they are printed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import ttest_rel

from analysis.comparison.across_parts import AcrossParts, average_over_parts
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Panel
from analysis.figures.profiles import collect_profiles
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.build import render_report
from analysis.results.intervals import SeedValue
from analysis.text.aggregate_tables import across_legend, across_lines, make_across_table
from tests.support.plans import plan_document

Values = Mapping[str, Mapping[str, Sequence[float]]]
"""Values by part, row and seed."""


@dataclass(frozen=True)
class Sweep:
    """A sweep of several parts; a row of one part has other trainings in each."""

    values: Values
    metric: str = "fd"
    baseline: str | None = None

    @property
    def joined(self) -> JoinedSweep:
        (num_seeds,) = {len(own) for rows in self.values.values() for own in rows.values()}
        document = plan_document(
            parts={part: tuple(rows) for part, rows in self.values.items()}, seeds=range(num_seeds)
        )
        document["primary"] = {
            "metric": self.metric, "parts": [], "baseline": self.baseline, "difference": 0.1, "spread": None,
            "declared": True,
        }  # fmt: skip
        scales = {"fd": "log", "accuracy": "share"}
        document["metrics"] = [{**card, "scale": scales[card["name"]]} for card in document["metrics"]]
        records = {}
        for trial in document["trials"]:
            value = self.values[trial["part"]][trial["row"]][trial["seed"]]
            for entry in trial["evaluations"]:  # each part has evaluations of its own
                task = document["tasks"][entry["digest"]]
                entry["digest"] += f" {trial['part']}"
                document["tasks"][entry["digest"]] = task
                records[entry["digest"]] = Record("done", {self.metric: value})
        return JoinedSweep.of(parse_plan(json.dumps(document)), records)

    @property
    def across(self) -> AcrossParts | None:
        return self.joined.across_parts


TWO_PARTS = {
    "plain": {"fm": (400.0, 420.0, 380.0), "dfm": (300.0, 330.0, 310.0), "only here": (1.0, 1.0, 2.0)},
    "guided": {"fm": (200.0, 190.0, 230.0), "dfm": (190.0, 200.0, 170.0)},
}


def test_ratios_are_geometric_means_over_parts_and_their_interval_is_by_seeds() -> None:
    across = Sweep(TWO_PARTS).across
    assert across is not None
    assert ([part.name for part in across.parts], across.seeds, across.reference) == (
        ["plain", "guided"],
        (0, 1, 2),
        "dfm",
    )
    row, reference = across.rows
    assert (row.label, reference.label, reference.difference) == ("fm", "dfm", None)
    fm, dfm = (np.mean([np.log(TWO_PARTS[part][label]) for part in TWO_PARTS], axis=0) for label in ("fm", "dfm"))
    expected = ttest_rel(fm, dfm).confidence_interval(0.95)
    assert row.difference is not None
    assert row.difference.estimate == pytest.approx(float((fm - dfm).mean()))
    assert row.difference.interval == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    assert row.probability_of_improvement == pytest.approx((0 + 2 / 9) / 2)
    assert row.mean_rank == pytest.approx((3 * 2 + 2 + 1 + 2) / 6)
    gains = sorted(np.concatenate([np.divide(TWO_PARTS[part]["fm"], TWO_PARTS[part]["dfm"]) for part in TWO_PARTS]))
    assert row.interquartile_mean == pytest.approx(np.mean(gains[1:5]))


def test_shares_differ_by_differences_and_higher_is_better() -> None:
    shares = {
        part: {row: [value / 1000 for value in own] for row, own in rows.items()} for part, rows in TWO_PARTS.items()
    }
    across = Sweep(shares, metric="accuracy").across
    assert across is not None
    assert (across.reference, across.is_log) == ("fm", False)
    by_label = {row.label: row for row in across.rows}
    assert by_label["dfm"].difference is not None
    assert by_label["dfm"].difference.estimate == pytest.approx(np.mean([-0.1, -0.09, -0.07, -0.01, 0.01, -0.06]))
    table = make_across_table(across)
    assert table is not None
    assert table.rows[1][1].startswith("−0.053 (−0.")


def test_a_baseline_is_the_reference_and_units_of_parts_do_not_matter() -> None:
    scaled = {
        "plain": TWO_PARTS["plain"],
        "guided": {row: [9 * v for v in own] for row, own in TWO_PARTS["guided"].items()},
    }
    first, second = (Sweep(values, baseline="fm").across for values in (TWO_PARTS, scaled))
    assert first is not None
    assert second is not None
    assert first.reference == second.reference == "fm"
    ours, theirs = (next(line for line in across_lines(across) if line["row"] == "dfm") for across in (first, second))
    assert ours == pytest.approx(theirs)
    assert ours["num_parts"] == 2


@pytest.mark.parametrize(
    "values",
    [
        {"plain": TWO_PARTS["plain"]},
        {"plain": TWO_PARTS["plain"], "guided": {"other": (1.0, 2.0, 3.0), "dfm": (1.0, 2.0, 3.0)}},
    ],
)
def test_rows_of_one_part_alone_are_not_compared(values: Values) -> None:
    joined = Sweep(values).joined
    assert joined.across_parts is None
    assert collect_profiles(joined) == ()
    assert "tables/across-parts.csv" not in render_report(joined)


def test_what_is_left_out_is_said() -> None:
    third = {"fm": (300.0, 310.0, 320.0), "other": (1.0, 2.0, 3.0)}
    joined = Sweep({**TWO_PARTS, "third": third}).joined
    across = joined.across_parts
    assert across is not None
    assert [part.name for part in across.other_parts] == ["third"]
    legend = across_legend(across, 3)
    assert legend.startswith("Parts: Part plain, Part guided; 3 of 3 seeds")
    assert "Not in it, for their other rows or missing values: Part third." in legend
    assert legend.replace("&", "&amp;") in render_report(joined)["report.html"].decode()


def test_a_value_without_a_ratio_ends_the_comparison_of_ratios() -> None:
    zero = {**TWO_PARTS, "guided": {"fm": (200.0, 190.0, 0.0), "dfm": (190.0, 200.0, 170.0)}}
    assert Sweep(zero).across is None


def test_of_many_rows_a_profile_names_a_few() -> None:
    many = {part: {f"row {n}": (100.0 + n, 101.0 + n, 99.0 + n) for n in range(40)} for part in ("plain", "guided")}
    ((group,),) = (collect_profiles(Sweep(many).joined),)
    (panel,) = group.charts[0].panels
    assert isinstance(panel, Panel)
    assert sum(not line.faint for line in panel.lines) == 12
    assert "The best 12 of 40" in group.charts[0].note


def test_a_profile_is_the_share_of_runs_within_a_factor_of_the_best() -> None:
    ((group),) = collect_profiles(Sweep(TWO_PARTS).joined)
    (panel,) = group.charts[0].panels
    assert isinstance(panel, Panel)
    by_label = {line.label: [*zip(line.x, line.y, strict=True)] for line in panel.lines}
    assert by_label["dfm"][:2] == [(1.0, 0.0), (1.0, pytest.approx(5 / 6))]
    assert by_label["dfm"][3] == (pytest.approx(200 / 190), pytest.approx(1.0))
    assert by_label["fm"][:2] == [(1.0, 0.0), (1.0, pytest.approx(1 / 6))]
    assert (pytest.approx(400 / 300), pytest.approx(5 / 6)) in by_label["fm"]
    assert "Best at" not in group.charts[0].about
    assert "fm 17%, dfm 83%" in group.charts[0].about


def test_the_report_has_them_as_page_markdown_latex_and_csv() -> None:
    files = render_report(Sweep(TWO_PARTS).joined)
    assert "Over all parts, against dfm" in files["report.html"].decode()
    assert "| fm | ×1.19" in files["table.md"].decode()
    assert r"fm & $\times$1.19" in files["tables/across-parts.tex"].decode()
    assert files["tables/across-parts.csv"].decode().splitlines()[1].startswith("fm,fd,plain; guided,2,3,dfm,1.18")


def test_the_interval_holds_the_truth_where_parts_share_their_trainings() -> None:
    generator, held = np.random.default_rng(0), 0
    for _ in range(300):
        training = 0.03 * generator.standard_normal((3, 3))
        logs = training + 0.01 * generator.standard_normal((2, 3, 3))
        measured = {
            str(row): [[SeedValue(k, math.exp(v)) for k, v in enumerate(part[row])] for part in logs]
            for row in range(3)
        }
        interval = average_over_parts(measured, is_log=True).difference("0", "1").interval
        assert interval is not None
        held += interval[0] <= 1 <= interval[1]
    assert 0.91 <= held / 300 <= 0.99
