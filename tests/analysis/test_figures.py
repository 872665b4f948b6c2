"""Charts as data by known answers, and as files by their bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from analysis.about import parse_about
from analysis.drawing import DARK, LIGHT, _figure, draw
from analysis.figures import Chart, Line, Panel, collect_convergence, collect_losses, slug, thin
from analysis.measurements import measure
from analysis.plan_file import parse_plan
from analysis.plan_types import PlanFile
from analysis.records import Record
from tests.analysis.builders import (
    FLOPS_PER_STEP,
    about,
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
    evaluate_digest("DFM", 200, 0): Record("done", {"fd": 4.0}),
    train_digest("DFM"): Record("running", curves={"loss": ((10, 2.0), (20, 1.0)), "loss_stage_0": ((10, 3.0),)}),
}


def charts_of(plan: PlanFile, records: dict[str, Record]) -> tuple[Chart, ...]:
    ((_, charts),) = collect_convergence(plan, measure(plan, records), records)
    return charts


def test_a_line_is_the_mean_over_seeds_against_steps_and_flops() -> None:
    (chart,) = charts_of(PLAN, RECORDS)
    steps, flops = chart.panels
    (line,) = steps.lines
    assert (line.label, line.x, line.y) == ("DFM", (100.0, 200.0), (8.5, 4.0))
    # Two values, standard deviation sqrt(1/2): 12.7062 * 0.5.
    assert line.half_widths == pytest.approx((6.3531, 0.0), abs=1e-4)
    assert flops.lines[0].x == (100.0 * FLOPS_PER_STEP, 200.0 * FLOPS_PER_STEP)
    assert steps.floor == flops.floor == 1.25


def test_a_row_keeps_its_colour_while_others_have_no_value() -> None:
    assert charts_of(PLAN, RECORDS)[0].panels[0].lines[0].color == 1


def test_the_alternative_text_tells_the_last_values() -> None:
    assert charts_of(PLAN, RECORDS)[0].about.endswith("Last values: DFM: 4.")


def test_lines_of_one_protocol_have_no_caption() -> None:
    assert charts_of(PLAN, RECORDS)[0].caption == ""


def with_protocols(row: str, **changes: Any) -> PlanFile:
    document = plan_document(seeds=(0, 1))
    change_protocols(document, row, **changes)
    return parse_plan(json.dumps(document))


def test_lines_of_different_protocols_say_so_in_caption_and_alternative_text() -> None:
    records = {**RECORDS, evaluate_digest("flow matching", 100): Record("done", {"fd": 9.0})}
    (chart,) = charts_of(with_protocols("DFM", num_samples=10_000), records)
    caption = "These lines do not compare: num_samples is 500 (flow matching) and 10,000 (DFM)."
    assert chart.caption == caption
    assert chart.panels[0].floor is None, "real images were measured as one of the rows at most"
    assert chart.about.endswith(f"Last values: flow matching: 9, DFM: 4. {caption}")


def test_a_line_that_was_not_measured_as_planned_says_so() -> None:
    digest = evaluate_digest("DFM", 100, 1)
    (chart,) = charts_of(PLAN, {**RECORDS, digest: Record("done", {"fd": 9.0}, about=parse_about(about(guidance=2)))})
    assert chart.caption == ("These lines do not compare: not measured as planned: guidance is 2, planned 1 (DFM).")


def test_real_images_that_were_measured_otherwise_are_not_drawn() -> None:
    (chart,) = charts_of(with_protocols("DFM", num_samples=10_000), RECORDS)
    assert chart.caption == ""
    assert [panel.floor for panel in chart.panels] == [None, None]


def test_a_metric_without_a_floor_has_no_dashed_line() -> None:
    assert charts_of(PLAN, {**RECORDS, "floor": Record("done", {})})[0].panels[0].floor is None
    evaluations = {key: replace(task, floor=None) for key, task in PLAN.evaluations.items()}
    assert charts_of(replace(PLAN, evaluations=evaluations), RECORDS)[0].panels[0].floor is None


@pytest.mark.parametrize("caption", ["", "a $x$ <b> & " * 40])
def test_a_caption_is_drawn_as_it_is(caption: str) -> None:
    panel = Panel("x", "y", (Line("a", (1.0,), (1.0,)),))
    chart = Chart("x", "x", "x", (panel,), log_y=False, markers=True, caption=caption)
    drawn = _figure(chart, LIGHT).get_suptitle().replace("\\$", "$")
    assert " ".join(drawn.split()) == " ".join(caption.split())
    assert draw(chart, "svg").startswith(b"<?xml")


def test_a_wide_range_is_drawn_on_a_logarithmic_axis() -> None:
    wide = {**RECORDS, evaluate_digest("DFM", 200, 0): Record("done", {"fd": 400.0})}
    assert (charts_of(PLAN, RECORDS)[0].log_y, charts_of(PLAN, wide)[0].log_y) == (False, True)


def test_losses_have_a_panel_for_each_stage() -> None:
    chart = collect_losses(PLAN, RECORDS)
    assert chart is not None
    assert [(panel.y_label, panel.lines[0].y) for panel in chart.panels] == [
        ("loss", (2.0, 1.0)),
        ("loss stage 0", (3.0,)),
    ]


def test_nothing_recorded_draws_nothing() -> None:
    assert charts_of(PLAN, {}) == ()
    assert collect_losses(PLAN, {}) is None


def test_thinning_keeps_short_curves_and_averages_long_ones() -> None:
    short = tuple((step, float(step)) for step in range(400))
    assert thin(short) == short
    long = thin(tuple((step, float(step)) for step in range(800)))
    assert (len(long), long[0], long[-1]) == (400, (1, 0.5), (799, 798.5))


def test_part_names_become_safe_file_names() -> None:
    assert slug("../../etc/<x> é") == "etc-x"
    assert slug("///") == "x"


@pytest.mark.parametrize("file_format", ["png", "svg"])
def test_a_chart_draws_the_same_bytes_twice(file_format: str) -> None:
    (chart,) = charts_of(PLAN, RECORDS)
    first, second = (draw(chart, file_format) for _ in range(2))  # type: ignore[arg-type]
    assert first == second
    assert not any(word in first for word in (b"Matplotlib", b"dc:date"))


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
@pytest.mark.parametrize("label", ["_hidden", "$x$", "$", "<b>&", "a" * 300, "日本", "\\frac"])
def test_hostile_labels_and_values_can_be_drawn(label: str) -> None:
    line = Line(label, (1.0, 2.0, 3.0), (math.nan, math.inf, 2.0), (0.0, 1.0, math.nan), 23)
    panel = Panel(label, label, (line,), math.nan)
    chart = Chart("x", label, label, (panel, panel), log_y=True, markers=True)
    assert draw(chart, "svg", DARK).startswith(b"<?xml")


@pytest.mark.parametrize("label", ["_hidden", "$x$ and $", "plain"])
def test_the_legend_shows_every_label_as_it_is(label: str) -> None:
    panel = Panel("x", "y", (Line(label, (1.0,), (1.0,)), Line("second", (1.0,), (1.0,), color=1)), floor=0.5)
    (legend,) = _figure(Chart("x", "x", "x", (panel,), log_y=False, markers=True), LIGHT).legends
    shown = [text.get_text().replace("\\$", "$") for text in legend.get_texts()]
    assert shown == [label, "second", "real images"]
