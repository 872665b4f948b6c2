"""Quality against the cost of a sample: the rows of a part, and those that no row of at most their cost beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel, slug, wants_log
from analysis.figures.series import group_by_part, summarize_points
from analysis.plan.model import Metric, Part
from analysis.results.comparability import rows_comparability
from analysis.results.measurements import Measurement
from analysis.text.caveats import chart_caption

_MOST_NAMED = 7


def collect_pareto(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make a chart with a panel per metric for each part whose rows differ in network evaluations an image."""
    return group_by_part(joined_sweep.plan, lambda part, number: [_chart(joined_sweep, part, number)])


def _chart(joined_sweep: JoinedSweep, part: Part, number: int) -> Chart | None:
    panels, captions = [], dict[str, None]()
    fronts = []
    for metric in joined_sweep.plan.metrics:
        points = _points(joined_sweep, part, metric)
        if len({cost for _, cost, _ in points}) < 2:
            continue
        panels.append(_panel(metric, points))
        shown = [m for _, _, seeds in points for m in seeds]
        captions[chart_caption(rows_comparability(metric, shown))] = None
        front = panels[-1].lines[0]
        pairs = (f"{y:.4g} at {x:g}" for x, y in zip(front.x, front.y, strict=True))
        fronts.append(f"{metric.title}, best at its cost: {', '.join(pairs)}")
    if not panels:
        return None
    about = f"{part.title}: quality against network evaluations an image. {'; '.join(fronts)}."
    caption = " ".join(filter(None, captions))
    name = f"cost-{number}-{slug(part.name)}"
    return Chart(name, "Quality against sampling cost", about, tuple(panels), caption=caption, columns=3)


Point = tuple[str, int, Sequence[Measurement]]
"""Row, network evaluations an image, finite values at its last evaluation."""


def _points(joined_sweep: JoinedSweep, part: Part, metric: Metric) -> list[Point]:
    points: list[Point] = []
    for row, values in joined_sweep.last_values(part, metric).items():
        digest = joined_sweep.plan.trials_of(part.name, row)[0].evaluations[-1][1]
        seeds = [m for m in values if m.value is not None and math.isfinite(m.value)]
        if seeds:
            points.append((row, joined_sweep.plan.evaluations[digest].num_evaluations, seeds))
    return points


def _panel(metric: Metric, points: Sequence[Point]) -> Panel:
    """Make a panel with the front first; of many points only those on it have colour and name."""
    summary = summarize_points([seeds for _, _, seeds in points])
    costs = [float(cost) for _, cost, _ in points]
    front = pareto_front(costs, summary.means, lower=metric.better == "lower")
    named = front[:_MOST_NAMED] if len(points) > _MOST_NAMED else range(len(points))
    corners = tuple(costs[i] for i in front), tuple(summary.means[i] for i in front)
    lines = [Line("best at its cost", *corners, style="guide")]
    for index, (row, _, _) in enumerate(points):
        width = (summary.half_widths[index],) if summary.half_widths else ()
        place = (costs[index],), (summary.means[index],)
        faint = index not in named
        lines.append(Line(row, *place, width, index, "points", over=summary.over, faint=faint))
    axis = "network evaluations / image"
    return Panel(axis, metric.title, tuple(lines), log_x=wants_log(costs), log_y=wants_log(summary.means))


def pareto_front(costs: Sequence[float], values: Sequence[float], *, lower: bool) -> list[int]:
    """Return the indices of the points that no other one of at most their cost beats or equals, by rising cost.

    Args: costs: [N]. values: finite, [N]. lower: True if less is better.
    """
    sign = 1.0 if lower else -1.0
    front: list[int] = []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], sign * values[i])):
        if not front or sign * values[index] < sign * values[front[-1]]:
            front.append(index)
    return front
