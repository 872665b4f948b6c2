"""Convergence charts by known answers."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart
from analysis.figures.convergence import collect_convergence
from analysis.plan.model import PublishedPlan
from analysis.plan.read import parse_plan
from analysis.records.about import parse_about
from analysis.records.record import Record
from tests.support.plans import (
    BATCH_SIZE,
    FLOPS_PER_STEP,
    about,
    beside_table2,
    change_protocols,
    evaluate_digest,
    make_plan,
    plan_document,
    train_digest,
)

PLAN = make_plan(seeds=(0, 1))
RECORDS = {
    "floor": Record("done", {"fd": 1.25}),
    **{evaluate_digest("DFM", 100, seed): Record("done", {"fd": 8.0 + seed}) for seed in (0, 1)},
    **{evaluate_digest("DFM", 200, seed): Record("done", {"fd": 4.0}) for seed in (0, 1)},
}


def charts_of(plan: PublishedPlan, records: dict[str, Record]) -> tuple[Chart, ...]:
    groups = collect_convergence(JoinedSweep.of(plan, records))
    return tuple(chart for group in groups for chart in group.charts)


def test_a_line_is_the_mean_over_seeds_against_steps_and_flops() -> None:
    (chart,) = charts_of(PLAN, RECORDS)
    steps, images, flops = chart.panels
    (line,) = steps.lines
    assert (line.label, line.x, line.y) == ("DFM", (100.0, 200.0), (8.5, 4.0))
    # Two values, standard deviation sqrt(1/2): 12.7062 * 0.5.
    assert line.half_widths == pytest.approx((6.3531, 0.0), abs=1e-4)
    assert images.lines[0].x == (100.0 * BATCH_SIZE, 200.0 * BATCH_SIZE)
    assert flops.lines[0].x == (100.0 * FLOPS_PER_STEP, 200.0 * FLOPS_PER_STEP)
    assert steps.real_images == flops.real_images == 1.25


def test_simultaneous_bands_hold_at_all_points_at_once() -> None:
    records = {**RECORDS, evaluate_digest("DFM", 200, 0): Record("done", {"fd": 5.0})}
    plan = replace(PLAN, primary=replace(PLAN.primary, bands="simultaneous"))
    (pointwise,), (chart,) = charts_of(PLAN, records), charts_of(plan, records)
    # Student's t of one degree of freedom, 1 - 0.05 / 2 / 2 for two points: 25.4517 in the place of 12.7062.
    assert pointwise.panels[0].lines[0].half_widths == pytest.approx((6.3531, 6.3531), abs=1e-4)
    assert chart.panels[0].lines[0].half_widths == pytest.approx((12.7259, 12.7259), abs=1e-4)
    assert chart.note == "Lines: n = 2 of 2 seeds. Bands hold at all points of a line at once."
    assert pointwise.note == "Lines: n = 2 of 2 seeds."
    assert pointwise.panels[0].lines[0].num_seeds == 2


def test_a_line_ends_where_one_of_its_seeds_drops_out() -> None:
    records = {digest: record for digest, record in RECORDS.items() if digest != evaluate_digest("DFM", 200, 1)}
    (chart,) = charts_of(PLAN, records)
    assert chart.panels[0].lines[0].x == (100.0,)
    assert "n = 2 of 2 seeds" in chart.about


def test_a_row_keeps_its_colour_while_others_have_no_value() -> None:
    assert charts_of(PLAN, RECORDS)[0].panels[0].lines[0].color == 1


def test_the_alternative_text_tells_the_last_values() -> None:
    assert charts_of(PLAN, RECORDS)[0].about.endswith("Last values: DFM: 4.")


def test_lines_of_one_protocol_have_no_caption() -> None:
    assert charts_of(PLAN, RECORDS)[0].caption == ""


def with_protocols(row: str, **changes: Any) -> PublishedPlan:
    document = plan_document(seeds=(0, 1))
    change_protocols(document, row, **changes)
    return parse_plan(json.dumps(document))


def test_lines_of_different_protocols_say_so_in_caption_and_alternative_text() -> None:
    records = {**RECORDS, evaluate_digest("flow matching", 100): Record("done", {"fd": 9.0})}
    (chart,) = charts_of(with_protocols("DFM", num_samples=10_000), records)
    caption = "These lines do not compare: num_samples is 500 (flow matching) and 10,000 (DFM)."
    assert chart.caption == caption
    assert chart.panels[0].real_images is None, "real images were measured as one of the rows at most"
    assert chart.about.endswith(f"Last values: flow matching: 9, DFM: 4. {caption}")


def test_a_line_that_was_not_measured_as_planned_says_so() -> None:
    digest = evaluate_digest("DFM", 100, 1)
    (chart,) = charts_of(
        PLAN, {**RECORDS, digest: Record("done", {"fd": 9.0}, about=parse_about(json.loads(about(guidance=2))))}
    )
    assert chart.caption == ("These lines do not compare: not measured as planned: guidance is 2, planned 1 (DFM).")


def test_real_images_that_were_measured_otherwise_are_not_drawn() -> None:
    (chart,) = charts_of(with_protocols("DFM", num_samples=10_000), RECORDS)
    assert chart.caption == ""
    assert [panel.real_images for panel in chart.panels] == [None, None, None]


def test_a_metric_without_a_floor_has_no_dashed_line() -> None:
    assert charts_of(PLAN, {**RECORDS, "floor": Record("done", {})})[0].panels[0].real_images is None
    evaluations = {key: replace(task, floor=None) for key, task in PLAN.evaluations.items()}
    assert charts_of(replace(PLAN, evaluations=evaluations), RECORDS)[0].panels[0].real_images is None


def test_a_wide_range_is_drawn_on_a_logarithmic_axis() -> None:
    wide = {**RECORDS, evaluate_digest("DFM", 200, 0): Record("done", {"fd": 400.0})}
    assert [charts_of(PLAN, found)[0].panels[0].log_y for found in (RECORDS, wide)] == [False, True]


def test_nothing_recorded_draws_nothing() -> None:
    assert charts_of(PLAN, {}) == ()


def test_one_seed_has_error_bars_over_samples() -> None:
    records = {
        evaluate_digest("DFM", 100): Record("done", {"fd": 8.0, "fd_standard_error": 0.5}),
        evaluate_digest("DFM", 200): Record("done", {"fd": 4.0}),
    }
    (line,) = charts_of(make_plan(), records)[0].panels[0].lines
    assert line.half_widths == pytest.approx((0.98, 0.0), abs=1e-3)
    assert line.over == "samples"


def test_accelerator_hours_are_a_trainings_share_up_to_the_step_once_it_is_done() -> None:
    trained = {
        train_digest("DFM", seed): Record("done", {"accelerator_seconds": 7200.0 * (1 + seed)}) for seed in (0, 1)
    }
    axes = {panel.x_label: panel for panel in charts_of(PLAN, {**RECORDS, **trained})[0].panels}
    # Step 100 of 200: an hour at seed 0 and two at seed 1; step 200 only has seed 0.
    assert axes["accelerator-hours of training"].lines[0].x == pytest.approx((1.5, 3.0))
    running = {**trained, train_digest("DFM", 1): Record("running", {"accelerator_seconds": 7200.0})}
    (line,) = next(p for p in charts_of(PLAN, {**RECORDS, **running})[0].panels if "hours" in p.x_label).lines
    assert (line.x, line.y) == ((1.0, 2.0), (8.0, 4.0))
    assert "accelerator-hours of training" not in {p.x_label for p in charts_of(PLAN, RECORDS)[0].panels}


def test_the_papers_numbers_stand_at_the_last_step_only_if_measured_alike() -> None:
    records = {evaluate_digest(row, 200): Record("done", {"fd": 3.0}) for row in ("flow_matching", "cascaded")}
    plan = beside_table2(same_setting=True, measured={"cascaded": {"num_samples": 10_000}})
    chart = charts_of(plan, records)[0]
    (star,) = [line for line in chart.panels[0].lines if line.style == "published"]
    assert (star.label, star.x, star.y) == ("flow_matching (paper)", (500_000.0,), (4.73,))
    other = charts_of(beside_table2(), records)[0]
    assert not [line for panel in other.panels for line in panel.lines if line.style == "published"]


def test_of_many_rows_the_best_have_colour() -> None:
    rows = [f"row {index}" for index in range(20)]
    records = {evaluate_digest(row, 200): Record("done", {"fd": 100.0 - i}) for i, row in enumerate(rows)}
    chart = charts_of(make_plan(parts={"p": rows}), records)[0]
    assert [line.label for line in chart.panels[0].lines if not line.faint] == rows[8:]
    assert chart.note == "The best 12 of 20 have colour and name."
