"""Orders compared pair by pair, against counts made by hand."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from analysis.comparison.compare import MetricComparison, PartComparison, compare
from analysis.comparison.kendall import RankAgreement
from analysis.comparison.row_order import Order, compare_order
from analysis.comparison.verdicts import ComparedRow
from analysis.contract.published_numbers import PublishedValue
from analysis.errors import UserError
from analysis.plan.model import Metric, PublishedPlan
from analysis.plan.protocol import parse_protocol
from analysis.plan.read import parse_plan
from analysis.records.about import About
from analysis.records.record import Record
from analysis.results.cells import Cell
from analysis.results.intervals import SeedValue
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.results.significance import compare_rows
from analysis.results.standings import Standing
from orchestration.plan.plan import make_plan as plan_sweep
from orchestration.plan.plan_json import plan_json
from orchestration.spec.load import load_sweep
from tests.support.plans import beside_table2, evaluate_digest, make_plan, plan_document
from tests.support.sweeps import SHIPPED
from tests.support.table4_files import table4_overrides

SWEEPS = [path for path in SHIPPED if "\npublished:" in path.read_text()]
Ours = float | tuple[float, float | None]
"""A mean, or a mean and half the width of its interval."""


def rows(ours: Sequence[Ours | None], published: Sequence[str | None]) -> list[ComparedRow]:
    """Rows called a, b, c, ..."""
    made = []
    for label, own, text in zip("abcdefg", ours, published, strict=False):
        mean, half_width = own if isinstance(own, tuple) else (own, 1e-3)
        cell = Cell("missing") if mean is None else Cell("done", mean, values=seeds(mean, half_width))
        made.append(ComparedRow(label, cell, PublishedValue(text, "arxiv_v1") if text else None, None))
    return made


def seeds(mean: float, half_width: float | None) -> tuple[SeedValue, ...]:
    """Three seeds whose mean has this interval, all of it the error of samples; or a single one without an error."""
    if half_width is None:
        return (SeedValue(0, mean),)
    return tuple(SeedValue(seed, mean, half_width / 1.959964) for seed in range(3))


def standing_of(made: Sequence[ComparedRow], better: Literal["lower", "higher"] = "lower") -> Standing:
    tests = compare_rows({row.label: row.ours.values for row in made if row.ours.finite}, "linear", 1)
    return Standing(Metric("fd", "FD", better, ""), makes_claims=True, tests=tests)


def order_of(ours: Sequence[Ours | None], published: Sequence[str | None]) -> Order:
    made = rows(ours, published)
    order = compare_order(made, standing_of(made))
    assert order is not None
    return order


def counts(order: Order) -> tuple[int, int, int, int]:
    """(pairs, agree, disagree, unresolved)."""
    return order.num_pairs, order.num_agree, order.num_disagree, order.num_unresolved


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        ((10, 20, 30, 40), (6, 6, 0, 0)),
        ((10, 30, 20, 40), (6, 5, 1, 0)),  # b, c
        ((20, 10, 40, 30), (6, 4, 2, 0)),  # a, b and c, d
        ((40, 10, 20, 30), (6, 3, 3, 0)),  # a with all others
        ((40, 30, 20, 10), (6, 0, 6, 0)),
    ],
)
def test_pairs_are_counted_as_kendall_does(ours: tuple[float, ...], expected: tuple[int, ...]) -> None:
    assert counts(order_of(ours, "1234")) == expected


def test_the_order_in_which_rows_stand_does_not_matter() -> None:
    made = rows((20, 10, 40, 30), ("1.5", "2", "2", "4"))
    orders = [compare_order(shuffled, standing_of(made)) for shuffled in itertools.permutations(made)]
    assert {counts(order) for order in orders if order} == {(5, 3, 2, 0)}


def test_where_higher_is_better_the_best_is_the_highest_and_the_pairs_are_the_same() -> None:
    made = rows((10, 30, 20), ("1", "2", "3"))
    lower, higher = compare_order(made, standing_of(made)), compare_order(made, standing_of(made, "higher"))
    assert lower is not None
    assert higher is not None
    assert counts(lower) == counts(higher) == (3, 2, 1, 0)
    assert (lower.best_published, lower.best_ours, lower.best_agrees) == (("a",), ("a",), True)
    assert (higher.best_published, higher.best_ours, higher.best_agrees) == (("c",), ("b",), False)


def test_a_pair_that_the_paper_ties_is_left_out() -> None:
    order = order_of((1, 2, 3), ("567.0", "567", "571.0"))
    assert counts(order) == (2, 2, 0, 0)
    assert order.num_tied == 1


def test_a_pair_that_we_tie_neither_agrees_nor_disagrees() -> None:
    assert counts(order_of((5, 5, 7), "123")) == (3, 2, 0, 1)


@pytest.mark.parametrize("left_out", [None, math.nan, math.inf, -math.inf])
def test_a_row_without_a_finite_value_is_left_out(left_out: float | None) -> None:
    order = order_of((10, left_out, 30, 20), "1234")
    assert counts(order) == (3, 2, 1, 0)
    assert order.best_ours == ("a",)


def test_a_row_that_the_paper_lacks_is_left_out() -> None:
    order = order_of((10, 1, 30, 20), ("1", None, "3", "4"))
    assert counts(order) == (3, 2, 1, 0)
    assert order.best_ours == ("a",)


@pytest.mark.parametrize(("ours", "published"), [((1, None), "12"), ((1, 2), ("1", None)), ((), ())])
def test_fewer_than_two_rows_have_no_order(ours: Sequence[float | None], published: Sequence[str | None]) -> None:
    made = rows(ours, published)
    assert compare_order(made, standing_of(made)) is None


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((10.0, 1.0), (12.5, 1.0), (1, 1, 0, 0)),
        ((12.5, 1.0), (10.0, 1.0), (1, 0, 1, 0)),
        ((10.0, 1.0), (11.41, 1.0), (1, 0, 0, 1)),  # the half-width of the difference is 1.414
        ((10.0, 1.0), (11.42, 1.0), (1, 1, 0, 0)),
        ((10.0, 1.5), (11.9, 1.25), (1, 0, 0, 1)),
        ((10.0, None), (99.0, 0.0), (1, 0, 0, 1)),  # one seed in common
        ((10.0, 0.0), (10.0, 0.0), (1, 0, 0, 1)),
    ],
)
def test_a_difference_whose_interval_holds_zero_does_not_resolve_a_pair(
    first: Ours, second: Ours, expected: tuple[int, int, int, int]
) -> None:
    assert counts(order_of((first, second), "12")) == expected


def test_rows_with_like_differences_at_each_seed_are_resolved_however_seeds_spread() -> None:
    values = [tuple(SeedValue(seed, 100.0 * seed + own + 0.01 * own * seed) for seed in range(3)) for own in (1.0, 2.0)]
    made = [
        ComparedRow(label, Cell("done", 101.0, values=own), PublishedValue(text, "arxiv_v1"), None)
        for label, own, text in zip("ab", values, "12", strict=True)
    ]
    made[1] = replace(made[1], ours=replace(made[1].ours, mean=102.0))
    order = compare_order(made, standing_of(made))
    assert order is not None
    assert counts(order) == (1, 1, 0, 0)


def test_one_seed_in_common_resolves_nothing_however_small_the_error_of_samples() -> None:
    made = [
        ComparedRow(
            label, Cell("done", mean, values=(SeedValue(0, mean, 0.01),)), PublishedValue(text, "arxiv_v1"), None
        )
        for label, mean, text in (("a", 1.0, "1"), ("b", 9.0, "2"))
    ]
    order = compare_order(made, standing_of(made))
    assert order is not None
    assert counts(order) == (1, 0, 0, 1)


def test_of_six_pairs_four_agree_one_disagrees_and_one_is_not_resolved() -> None:
    # a < c < b by far, and d within its interval of b: (a,b) (a,c) (a,d) (c,d) agree, (b,c) disagrees, (b,d) is open.
    order = order_of(((10, 1), (30, 1), (20, 1), (31, 1)), "1234")
    assert counts(order) == (6, 4, 1, 1)
    assert order.num_alike == 5


def test_the_means_count_alone_whether_they_are_resolved_or_not() -> None:
    order = order_of(((1, 9), (2, 9), (3, 9)), "132")
    assert counts(order) == (3, 0, 0, 3)
    assert order.num_alike == 2


@pytest.mark.parametrize(
    ("ours", "published", "agrees", "resolved"),
    [
        (((1, 0.1), (2, 0.1), (3, 0.1)), "123", True, True),
        (((1, 0.1), (2, 2.0), (3, 0.1)), "123", True, False),  # b might be better
        (((1, 0.1), (2, 0.1), (3, 0.1)), "213", False, True),
        (((1, 1.0), (2, 0.1), (3, 0.1)), "213", False, False),
        (((1, 1.0), (2, 0.1), (3, 0.1)), "321", False, True),  # c, the paper's best, is apart from a
        (((1, 1.0), (1.5, 0.1), (3, 0.1)), "112", True, True),  # a or b: both are the paper's best
        (((1, 0.1), (1, 0.1), (3, 0.1)), "213", False, False),  # we tie b, the paper's best, with a
        (((1, 0.1), (1, 0.1), (3, 0.1)), "112", True, True),
    ],
)
def test_whether_the_best_agrees_and_is_resolved(
    ours: Sequence[Ours], published: str, agrees: bool, resolved: bool
) -> None:
    order = order_of(ours, published)
    assert (order.best_agrees, order.best_resolved) == (agrees, resolved)


def test_a_pair_that_either_ties_is_not_alike() -> None:
    assert order_of((5, 5, 7), "123").num_alike == 2
    assert order_of((1, 2, 3), "112").num_alike == 2


def test_one_seed_resolves_nothing() -> None:
    assert order_of(((1, None), (100, None)), "12").best_resolved is False


FD_CARD = Metric("fd", "FD", "lower", "a distance")
FD = {"flow_matching": 31.0, "cascaded": 28.0, "pyramidal_flow": 29.0, "dfm": 20.0, "ours": 18.0}


def compared(plan: PublishedPlan, values: Mapping[str, float]) -> tuple[PartComparison, ...]:
    records = {
        evaluate_digest(row, 200): Record("done", {"fd": value, "accuracy": 1 - value / 100})
        for row, value in values.items()
    }
    return compare(plan, make_sections(plan, measure(plan, records), records))


def test_rows_of_table_2_stand_beside_theirs() -> None:
    (part,) = compared(beside_table2(), FD)
    assert [(metric.metric.name, metric.published_name) for metric in part.metrics] == [
        ("fd", "fid_50k"),
        ("accuracy", "is"),
    ]
    assert [
        (row.label, row.ours.mean, row.published.printed if row.published else None) for row in part.metrics[0].rows
    ] == [
        ("flow_matching", 31.0, "4.73"),
        ("cascaded", 28.0, "5.68"),
        ("pyramidal_flow", 29.0, "4.57"),
        ("dfm", 20.0, "4.28"),
        ("ours", 18.0, None),
    ]
    # The paper: dfm, pyramidal, flow matching, cascaded; ours has cascaded second.
    assert [counts(metric.order) for metric in part.metrics if metric.order] == [(6, 0, 0, 6)] * 2
    assert [metric.order.num_alike for metric in part.metrics if metric.order] == [4, 4]
    assert all(metric.order is not None and metric.order.best_agrees for metric in part.metrics)


def test_the_papers_best_is_the_best_row_here_and_none_if_all_print_one_number() -> None:
    fid = MetricComparison(FD_CARD, "fid_50k", tuple(rows((None, None, 1), ("5.0", "4.0", None))), None)
    assert [fid.is_best_published(row) for row in fid.rows] == [False, True, False]
    same = MetricComparison(FD_CARD, "fid_50k", tuple(rows((1, 2), ("4.0", "4.00"))), None)
    assert [same.is_best_published(row) for row in same.rows] == [False, False]


def test_a_verdict_stands_only_on_numbers_of_the_same_setting() -> None:
    (other,) = compared(beside_table2(same_setting=False), FD)
    found = [row.verdict for metric in other.metrics for row in metric.rows if row.published]
    assert {(verdict.name, verdict.reason) for verdict in found if verdict} == {
        ("not comparable", "the paper's value is of another dataset, model and metric")
    }
    plan = beside_table2(same_setting=True)
    records = {evaluate_digest("dfm", 200): Record("done", {"fd": 3.9, "fd_standard_error": 0.1})}
    (same,) = compare(plan, make_sections(plan, measure(plan, records), records))
    names = [row.verdict.name if row.verdict else None for row in same.metrics[0].rows]
    assert names == [None, None, None, "cannot tell", None]


def test_tau_is_that_of_the_rows_that_have_both_values() -> None:
    (part,) = compared(beside_table2(), FD)
    # Six pairs, four alike, two not: 2/6. No record has an error of samples, so that there is no interval.
    assert [metric.agreement for metric in part.metrics] == [RankAgreement(pytest.approx(1 / 3), 4, p_value=0.75)] * 2
    (fewer,) = compared(beside_table2(), {row: FD[row] for row in ("cascaded", "dfm", "ours")})
    assert [metric.agreement for metric in fewer.metrics] == [None, None]


def setting_differences_of(plan: PublishedPlan, values: Mapping[str, float] = FD) -> list[str]:
    (part,) = compared(plan, values)
    return [row.setting_difference for row in part.metrics[0].rows]


def test_a_value_with_other_samples_or_guidance_is_not_compared_with_the_papers() -> None:
    measured: dict[str, dict[str, Any]] = {
        "cascaded": {"num_samples": 10_000},
        "dfm": {"guidance": 1.0, "num_samples": 10_000},
    }
    plan = beside_table2(same_setting=True, measured=measured)
    (part,) = compared(plan, FD)
    fid, inception_score = part.metrics
    assert [row.setting_difference for row in fid.rows] == [
        "",
        "10,000 samples, the paper's 50,000",
        "",
        "10,000 samples, the paper's 50,000 and guidance 1, the paper's 1.5",
        "",
    ]
    assert [row.ranked for row in fid.rows] == [True, False, True, False, False]
    # The name of the inception score says no number of samples, the paper's text does.
    assert [row.setting_difference for row in inception_score.rows] == [row.setting_difference for row in fid.rows]


@pytest.mark.parametrize(
    ("longest", "compares"), [(474_999, False), (475_000, True), (525_000, True), (525_001, False)]
)
def test_a_part_that_was_not_trained_as_long_as_the_papers_is_not_compared_with_it(
    longest: int, compares: bool
) -> None:
    """The longest training counts: at equal compute another row may have fewer steps."""
    plan = beside_table2(same_setting=True)
    last = {
        row: replace(trial, evaluations=((longest if row == "cascaded" else 400_000, trial.evaluations[-1][1]),))
        for trial in plan.trials
        for row in [trial.row]
    }
    setting_difference = "" if compares else f"trained for {longest:,} steps, the paper's for 500,000"
    assert setting_differences_of(replace(plan, trials=tuple(last.values()))) == [setting_difference] * 4 + [""]


def test_a_value_on_features_of_another_network_is_never_compared() -> None:
    networks: dict[str, dict[str, Any]] = {row: {"network": "EfficientNet-Lite0, ImageNet-1k: block10"} for row in FD}
    plan = beside_table2(same_setting=True, measured=networks)
    other = "features of EfficientNet-Lite0, ImageNet-1k: block10, the paper's of inception"
    assert setting_differences_of(plan) == [other] * 4 + [""]
    (part,) = compared(plan, FD)
    assert [metric.order for metric in part.metrics] == [None, None]


def test_only_rows_that_were_measured_as_the_papers_count_in_the_order() -> None:
    plan = beside_table2(same_setting=True, measured={"dfm": {"guidance": 1.0}})
    order = compared(plan, FD)[0].metrics[0].order
    assert order is not None
    # Without dfm: pyramidal, flow matching, cascaded in the paper; cascaded, pyramidal, flow matching here.
    assert (order.num_pairs, order.num_alike, order.makes_claims) == (3, 1, False)
    assert (order.best_published, order.best_ours) == (("pyramidal_flow",), ("cascaded",))


def test_where_only_the_order_compares_samples_and_guidance_may_be_others() -> None:
    plan = beside_table2(same_setting=False)
    assert setting_differences_of(plan) == [""] * 5
    order = compared(plan, FD)[0].metrics[0].order
    assert order is not None
    assert (order.num_pairs, order.num_alike) == (6, 4)


@pytest.mark.parametrize("same_setting", [False, True])
def test_rows_of_ours_that_do_not_compare_have_no_order(same_setting: bool) -> None:
    plan = beside_table2(same_setting=same_setting)
    digest = evaluate_digest("ours", 200)
    task = plan.evaluations[digest]
    changed = {"fd": parse_protocol({**task.protocols["fd"].values, "settings": "other"})}
    task = replace(task, protocols={**task.protocols, **changed})
    (part,) = compared(replace(plan, evaluations={**plan.evaluations, digest: task}), FD)
    assert [metric.order is None for metric in part.metrics] == [True, False]
    assert [metric.comparable for metric in part.metrics] == [False, True]


def test_a_value_of_unknown_protocol_is_not_compared() -> None:
    plan = beside_table2(same_setting=True)
    digest = evaluate_digest("dfm", 200)
    evaluations = {**plan.evaluations, digest: replace(plan.evaluations[digest], protocols={})}
    assert setting_differences_of(replace(plan, evaluations=evaluations))[3] == "how it was measured is not known"


def test_a_value_that_was_not_measured_as_planned_is_not_compared() -> None:
    plan = beside_table2(same_setting=True)
    recorded = parse_protocol({**plan.evaluations[evaluate_digest("dfm", 200)].protocols["fd"].values, "settings": "x"})
    records = {evaluate_digest("dfm", 200): Record("done", {"fd": 4.0}, about=About(protocols={"fd": recorded}))}
    (part,) = compare(plan, make_sections(plan, measure(plan, records), records))
    assert part.metrics[0].rows[3].setting_difference == "it was not measured as planned"


def test_points_of_a_grid_are_joined_by_their_value() -> None:
    labels = ("tied", "previous_location=0.0", "previous_location=1.5", "previous_location=3.0", "x=0.5, y=1.0", "1.0")
    document = plan_document(
        parts={"b": labels},
        published={"table": "table1", "metrics": {"fd": "fid_10k"}, "same_setting": False},
        counterparts={"b": {"part": "b_lognormal_location", "guidance": None}},
    )
    (part,) = compared(parse_plan(json.dumps(document)), {})
    printed = [row.published.printed if row.published else None for row in part.metrics[0].rows]
    assert printed == ["55.49", "29.83", "29.56", None, None, "29.14"]


def test_parts_and_metrics_without_a_counterpart_are_left_out() -> None:
    document = plan_document(
        parts={"a": ("0.7",), "mine": ("0.8",)},
        published={"table": "table1", "metrics": {"fd": "fid_10k"}, "same_setting": False},
        counterparts={"a": {"part": "a_first_stage_probability", "guidance": None}},
    )
    (part,) = compared(parse_plan(json.dumps(document)), {})
    assert part.section.part.name == "a"
    assert [metric.metric.name for metric in part.metrics] == ["fd"]


def test_a_part_without_a_named_counterpart_stands_beside_the_one_of_its_name() -> None:
    document = plan_document(
        parts={"imagenet_1024": ("dfm",), "mine": ("dfm",)},
        published={"table": "table2", "metrics": {"fd": "fid_10k"}, "same_setting": False},
        counterparts={name: {"part": None, "guidance": None} for name in ("imagenet_1024", "mine")},
    )
    (part,) = compared(parse_plan(json.dumps(document)), {})
    (row,) = part.metrics[0].rows
    assert (part.section.part.name, row.published and row.published.printed) == ("imagenet_1024", "14.11")


def test_a_part_of_which_the_paper_prints_other_metrics_is_left_out() -> None:
    document = plan_document(
        published={"table": "table2", "metrics": {"fd": "fid_50k"}, "same_setting": False},
        counterparts={"paradigm": {"part": "kinetics_512", "guidance": 1.0}},
    )
    assert compared(parse_plan(json.dumps(document)), {}) == ()


def test_a_part_of_which_the_paper_prints_no_row_is_left_out() -> None:
    document = plan_document(
        parts={"f": ("8-32", "16-32")},
        published={"table": "table1", "metrics": {"fd": "fid_10k"}, "same_setting": False},
        counterparts={"f": {"part": "f_input_decomposition", "guidance": None}},
    )
    assert compared(parse_plan(json.dumps(document)), {}) == ()


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_that_names_a_published_table_has_rows_to_compare_in_each_part(path: Path, tmp_path: Path) -> None:
    given = table4_overrides(tmp_path) if path.stem == "table4" else ()
    plan = parse_plan(plan_json(plan_sweep(load_sweep(path, given)), "sqlite:///x.db"))
    parts = compared(plan, {})
    assert parts
    for part in parts:
        for metric in part.metrics:
            assert sum(row.published is not None for row in metric.rows) >= 2
            assert {row.setting_difference for row in metric.rows} == {""}, (
                "as planned nothing keeps it from being compared"
            )
        assert part.lacking == (), "every row of the paper's part is a row of the sweep"


def test_a_plan_without_counterparts_is_compared_with_nothing() -> None:
    assert compared(make_plan(), {"DFM": 1.0}) == ()


@pytest.mark.parametrize(
    ("table", "metrics", "part", "message"),
    [
        ("table9", {}, "x", "'table9' is not a table"),
        ("table2", {"fd": "fid"}, "imagenet_512", "'fid' is not a metric of table2"),
        ("table2", {"fd": "fid_50k"}, "imagenet", "'imagenet' is not a part of table2"),
    ],
)
def test_a_plan_that_names_what_the_paper_lacks_is_refused(
    table: str, metrics: Mapping[str, str], part: str, message: str
) -> None:
    document = plan_document(
        published={"table": table, "metrics": metrics, "same_setting": False},
        counterparts={"paradigm": {"part": part, "guidance": 1.0}},
    )
    with pytest.raises(UserError, match=message):
        compared(parse_plan(json.dumps(document)), {})
