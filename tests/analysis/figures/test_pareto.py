"""Quality against cost: what is on the front, and what is shown."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Panel
from analysis.figures.pareto import collect_pareto, pareto_front
from analysis.records.record import Record
from tests.support.plans import evaluate_digest, make_plan


def test_the_front_rises_in_cost_and_quality_and_of_equals_keeps_one() -> None:
    assert pareto_front([3, 1, 2, 2, 4], [1.0, 5.0, 3.0, 2.0, 1.0], lower=True) == [1, 3, 0]
    assert pareto_front([3, 1, 2], [9.0, 5.0, 4.0], lower=False) == [1, 0]
    assert pareto_front([1, 1], [2.0, 2.0], lower=True) == [0]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_every_point_is_on_the_front_or_beaten_or_equalled_by_one_that_is(points: list[tuple[int, int]]) -> None:
    costs, values = [float(c) for c, _ in points], [float(v) for _, v in points]
    front = pareto_front(costs, values, lower=True)
    for cost, value in points:
        assert any(costs[i] <= cost and values[i] <= value for i in front)
    for i in front:
        assert not any((c < costs[i] and v <= values[i]) or (c <= costs[i] and v < values[i]) for c, v in points)


def test_rows_of_one_cost_have_no_figure_and_rows_of_several_a_panel_a_metric() -> None:
    rows = ("cheap", "dear", "bad")
    plan = make_plan(parts={"p": rows})
    records = {
        evaluate_digest(row, 200): Record("done", {"fd": fd, "accuracy": 0.5})
        for row, fd in zip(rows, (9.0, 5.0, 7.0), strict=True)
    }
    assert collect_pareto(JoinedSweep.of(plan, records)) == ()
    costs = {"cheap": 10, "dear": 20, "bad": 30}
    evaluations = {
        key: replace(task, num_evaluations=costs[task.title.partition(" @ ")[0]])
        for key, task in plan.evaluations.items()
    }
    (group,) = collect_pareto(JoinedSweep.of(replace(plan, evaluations=evaluations), records))
    (chart,) = group.charts
    first, second = (panel for panel in chart.panels if isinstance(panel, Panel))
    assert (first.lines[0].style, first.lines[0].x, first.lines[0].y) == ("guide", (10.0, 20.0), (9.0, 5.0))
    assert [line.label for line in first.lines[1:]] == list(rows)
    assert second.lines[0].x == (10.0,)
    assert "FD-Lite0, best at its cost: 9 at 10, 5 at 20;" in chart.about
