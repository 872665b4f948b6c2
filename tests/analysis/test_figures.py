"""Charts as data by known answers, and as files by their bytes."""

from __future__ import annotations

import math

import pytest

from analysis.drawing import DARK, LIGHT, _figure, draw
from analysis.figures import Chart, Line, Panel, collect_convergence, collect_losses, slug, thin
from analysis.layouts import measure
from analysis.plan_file import PlanFile
from analysis.records import Record
from tests.analysis.builders import FLOPS_PER_STEP, evaluate_digest, make_plan, train_digest

PLAN = make_plan(seeds=(0, 1))
RECORDS = {
    "reference": Record("done", {"floor_fd": 1.25}),
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
