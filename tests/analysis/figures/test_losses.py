"""Loss charts by known answers."""

from __future__ import annotations

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Panel
from analysis.figures.losses import collect_losses, thin
from analysis.records.record import Curve, Record
from tests.support.plans import make_plan, train_digest

PLAN = make_plan()


def panels_of(**curves: Curve) -> dict[str, list[Panel]]:
    records = {train_digest("DFM"): Record("running", curves=curves)}
    (group,) = collect_losses(JoinedSweep.of(PLAN, records))
    return {chart.name: [p for p in chart.panels if isinstance(p, Panel)] for chart in group.charts}


def test_losses_have_a_panel_for_each_stage() -> None:
    panels = panels_of(loss=((10, 2.0), (20, 1.0)), loss_stage_0=((10, 3.0),))
    assert [(panel.y_label, panel.lines[0].y) for panel in panels["training-loss"]] == [
        ("loss", (2.0, 1.0)),
        ("loss stage 0", (3.0,)),
    ]
    assert list(panels) == ["training-loss"]


def test_losses_per_timestep_average_the_last_quarter_and_stand_mid_bin() -> None:
    early, late = ((10, 9.0), (75, 9.0), (95, 2.0), (100, 4.0)), ((10, 9.0), (100, 0.5))
    panels = panels_of(loss=((100, 1.0),), loss_stage_0_t0of4=early, loss_stage_0_t3of4=late, loss_stage_1_t1of4=late)
    first, second = panels["loss-per-timestep"]
    assert (first.y_label, first.lines[0].x, first.lines[0].y) == ("loss stage 0", (0.125, 0.875), (3.0, 0.5))
    assert (second.lines[0].x, second.lines[0].y) == ((0.375,), (0.5,))
    assert [panel.y_label for panel in panels["training-loss"]] == ["loss"]


def test_the_share_of_samples_drawn_at_a_timestep_stands_beside_its_loss() -> None:
    panels = panels_of(
        loss=((100, 1.0),),
        loss_stage_0_t0of4=((100, 3.0),),
        loss_stage_1_t3of4=((100, 200.0),),
        draws_stage_0_t0of4=((10, 0.9), (80, 0.25), (100, 0.75)),
        draws_stage_1_t3of4=((100, 1.0),),
    )["loss-per-timestep"]
    assert [(panel.y_label, panel.lines[0].x, panel.lines[0].y, panel.log_y) for panel in panels] == [
        ("loss stage 0", (0.125,), (3.0,), True),
        ("share of samples, stage 0", (0.125,), (0.5,), False),
        ("loss stage 1", (0.875,), (200.0,), True),
        ("share of samples, stage 1", (0.875,), (1.0,), False),
    ]


def test_nothing_recorded_draws_nothing() -> None:
    (group,) = collect_losses(JoinedSweep.of(PLAN, {}))
    assert group.charts == ()


def test_thinning_keeps_short_curves_and_averages_long_ones() -> None:
    short = tuple((step, float(step)) for step in range(400))
    assert thin(short) == short
    long = thin(tuple((step, float(step)) for step in range(800)))
    assert (len(long), long[0], long[-1]) == (400, (1, 0.5), (799, 798.5))
