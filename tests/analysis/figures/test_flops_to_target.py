"""FLOPs to reach the best baseline, by hand-computed crossings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import BarPanel
from analysis.figures.flops_to_target import collect_flops_to_target
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.results.curves import TargetReached, first_crossing
from tests.support.plans import FLOPS_PER_STEP, change_protocols, evaluate_digest, plan_document, train_digest

XS = (1.0, 2.0, 4.0)


@pytest.mark.parametrize(
    ("ys", "target", "expected"),
    [
        ((9.0, 5.0, 3.0), 4.0, TargetReached(3.0, "exact")),
        ((9.0, 5.0, 3.0), 5.0, TargetReached(2.0, "exact")),
        ((9.0, 5.0, 3.0), 9.0, TargetReached(1.0, "exact")),
        ((9.0, 5.0, 3.0), 10.0, TargetReached(1.0, "at most")),
        ((9.0, 5.0, 3.0), 2.0, TargetReached(4.0, "at least")),
        ((9.0, 3.0, 8.0), 6.0, TargetReached(1.5, "exact")),
        ((9.0, math.nan, 3.0), 4.0, TargetReached(4.0, "exact")),
        ((math.nan, math.inf, math.nan), 4.0, TargetReached(4.0, "at least")),
    ],
)
def test_a_curve_reaches_a_target_where_its_straight_pieces_first_do(
    ys: tuple[float, ...], target: float, expected: TargetReached
) -> None:
    assert first_crossing(XS, ys, target, lower=True) == expected
    assert first_crossing(XS, [-y for y in ys], -target, lower=False) == expected


def a_plan(**paradigms: str) -> PublishedPlan:
    document = plan_document(parts={"p": tuple(paradigms)})
    for row, paradigm in paradigms.items():
        document["tasks"][train_digest(row)]["paradigm"] = paradigm
    return parse_plan(json.dumps(document))


def records_of(**curves: tuple[float, float]) -> dict[str, Record]:
    return {
        evaluate_digest(row, step): Record("done", {"fd": value})
        for row, values in curves.items()
        for step, value in zip((100, 200), values, strict=True)
    }


def test_the_target_is_the_best_of_all_baselines_and_shares_are_of_its_flops() -> None:
    plan = a_plan(fm="flow_matching", casc="cascaded", ours="dfm", weak="dfm")
    records = records_of(fm=(9.0, 4.0), casc=(9.0, 6.0), ours=(6.0, 2.0), weak=(9.0, 5.0))
    (group,) = collect_flops_to_target(JoinedSweep.of(plan, records))
    (panel,) = group.charts[0].panels
    assert isinstance(panel, BarPanel)
    assert panel.x_label == "training FLOPs to FD-Lite0 4 (best of fm; 1 seed)"
    found = {bar.label: (bar.value / FLOPS_PER_STEP, bar.end) for bar in panel.bars}
    assert found == {"fm": (200, "exact"), "casc": (200, "at least"), "ours": (150, "exact"), "weak": (200, "at least")}
    texts = {bar.label: bar.text for bar in panel.bars}
    assert texts["ours"] == "1.50 × 10¹¹, 0.75 ×"
    assert texts["weak"] == "not reached by 2.00 × 10¹¹, 1.00 ×"


def test_without_baselines_or_values_or_a_common_protocol_there_is_no_figure() -> None:
    values = records_of(fm=(9.0, 4.0), ours=(6.0, 2.0))
    plan = a_plan(fm="flow_matching", ours="dfm")
    assert len(collect_flops_to_target(JoinedSweep.of(plan, values))) == 1
    assert collect_flops_to_target(JoinedSweep.of(a_plan(fm="dfm", ours="dfm"), values)) == ()
    assert collect_flops_to_target(JoinedSweep.of(plan, records_of(ours=(6.0, 2.0)))) == ()
    document = plan_document(parts={"p": ("fm", "ours")})
    document["tasks"][train_digest("fm")]["paradigm"] = "flow_matching"
    change_protocols(document, "ours", num_samples=9)
    assert collect_flops_to_target(JoinedSweep.of(parse_plan(json.dumps(document)), values)) == ()


def seeded(**curves: tuple[tuple[float, ...], ...]) -> tuple[PublishedPlan, dict[str, Record]]:
    """Curves of each row, a tuple a seed; shorter ones still run. The first row is the baseline."""
    num_seeds = max(map(len, curves.values()))
    document = plan_document(parts={"p": tuple(curves)}, seeds=tuple(range(num_seeds)))
    for seed in range(num_seeds):
        document["tasks"][train_digest(next(iter(curves)), seed)]["paradigm"] = "flow_matching"
    records = {
        evaluate_digest(row, step, seed): Record("done", {"fd": value})
        for row, seeds in curves.items()
        for seed, values in enumerate(seeds)
        for step, value in zip((100, 200), values, strict=False)
    }
    return parse_plan(json.dumps(document)), records


def bars_of(plan: PublishedPlan, records: dict[str, Record]) -> dict[str, str]:
    (group,) = collect_flops_to_target(JoinedSweep.of(plan, records))
    (panel,) = group.charts[0].panels
    assert isinstance(panel, BarPanel)
    return {bar.label: bar.text for bar in panel.bars}


def test_a_seed_that_still_runs_gives_no_advantage() -> None:
    # At step 200 the first seed alone is good; it was "0.58 ×, exact" by whichever seeds are there.
    texts = bars_of(*seeded(fm=((9.0, 5.0), (9.0, 7.0)), ours=((9.0, 5.0), (9.0,))))
    assert texts["ours"].startswith("not reached by 1.00 × 10¹¹")


def test_the_share_has_an_interval_over_draws_and_says_how_often_it_is_reached() -> None:
    texts = bars_of(*seeded(fm=((9.0, 5.0), (8.0, 6.0), (9.5, 5.5)), ours=((9.0, 5.2), (8.2, 6.0), (9.0, 5.4))))
    assert texts["fm"] == "2.00 × 10¹¹, 1.00 × (1.00 to 1.00; reached in 100%)"
    assert "× (from 0." in texts["ours"]
    assert texts["ours"].endswith("%)")


def test_a_declared_target_has_a_panel_of_its_own() -> None:
    plan = a_plan(fm="flow_matching", ours="dfm")
    plan = replace(plan, primary=replace(plan.primary, targets=(7.0,)))
    (group,) = collect_flops_to_target(JoinedSweep.of(plan, records_of(fm=(9.0, 4.0), ours=(6.0, 2.0))))
    labels = [panel.x_label for panel in group.charts[0].panels if isinstance(panel, BarPanel)]
    assert labels[1] == "training FLOPs to FD-Lite0 7 (declared; 1 seed)"
