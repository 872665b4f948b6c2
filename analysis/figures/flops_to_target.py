"""Training FLOPs that each row needs to reach the best value of the baselines (the paper: DFM needs about half)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparison.joined_sweep import JoinedSweep, RowMeasurements
from analysis.drawing.chart import Bar, BarEnd, BarPanel, Chart, Group, slug
from analysis.figures.series import group_by_part
from analysis.plan.model import Metric, Part
from analysis.results.cells import mean
from analysis.results.comparability import rows_comparability
from analysis.results.measurements import Measurement
from analysis.text.caveats import chart_caption
from analysis.text.numbers import scientific

_METHOD = "dfm"
"""Paradigm whose rows are no baselines."""


@dataclass(frozen=True)
class TargetReached:
    """The first point at which a curve is as good as a target."""

    x: float
    end: BarEnd
    """at least: the target is not reached, x is the last point; at most: the first point is as good already."""


def first_crossing(xs: Sequence[float], ys: Sequence[float], target: float, *, lower: bool) -> TargetReached:
    """Find the first point at which a curve, straight between its points, is as good as a target.

    Args: xs: increasing, [N]. ys: values there, [N]; one that is not finite is never good. lower: True if less is
        better.
    """
    sign = 1.0 if lower else -1.0
    gaps = [sign * (y - target) if math.isfinite(y) else math.inf for y in ys]
    for index, gap in enumerate(gaps):
        if gap <= 0:
            if index == 0:
                return TargetReached(xs[0], "exact" if gap == 0 else "at most")
            before = gaps[index - 1]
            share = before / (before - gap) if math.isfinite(before) else 1.0
            return TargetReached(xs[index - 1] + share * (xs[index] - xs[index - 1]), "exact")
    return TargetReached(xs[-1], "at least")


def collect_flops_to_target(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make a chart with a panel per metric for each part that has baselines and rows of DFM."""
    return group_by_part(joined_sweep.plan, lambda part, number: [_chart(joined_sweep, part, number)])


def _chart(joined_sweep: JoinedSweep, part: Part, number: int) -> Chart | None:
    baselines = [row for row in part.rows if _paradigm(joined_sweep, part, row) not in ("", _METHOD)]
    methods = [row for row in part.rows if _paradigm(joined_sweep, part, row) == _METHOD]
    if not baselines or not methods:
        return None
    panels, captions = [], dict[str, None]()
    texts = []
    for metric in joined_sweep.plan.metrics:
        rows = joined_sweep.values.get((part.name, metric.name), {})
        comparability = rows_comparability(metric, [m for points in rows.values() for m in points])
        panel = _panel(part, metric, rows, baselines) if comparability.comparable else None
        captions[chart_caption(comparability)] = None
        if panel:
            panels.append(panel)
            texts.append(f"{panel.x_label}: " + ", ".join(f"{bar.label} {bar.text}" for bar in panel.bars))
    if not panels:
        return None
    about = f"{part.title}: training FLOPs until each row is as good as the best baseline. {'; '.join(texts)}."
    title = "FLOPs to reach the best of the baselines"
    caption = " ".join(filter(None, captions))
    return Chart(f"reach-{number}-{slug(part.name)}", title, about, tuple(panels), caption=caption, columns=1)


def _paradigm(joined_sweep: JoinedSweep, part: Part, row: str) -> str:
    task = joined_sweep.plan.trainings.get(joined_sweep.plan.trials_of(part.name, row)[0].train)
    return task.paradigm if task else ""


def _panel(part: Part, metric: Metric, rows: RowMeasurements, baselines: Sequence[str]) -> BarPanel | None:
    """Make a bar of each row that has values; None while no baseline or nothing else has any."""
    lower = metric.better == "lower"
    curves = {row: _mean_curve(points) for row, points in rows.items()}
    best = [
        ((min if lower else max)(ys), row)
        for row, (_, values) in curves.items()
        if row in baselines and (ys := [y for y in values if math.isfinite(y)])
    ]
    if not best or len(curves) < 2:
        return None
    target, holder = (min if lower else max)(best)
    reached = {row: first_crossing(xs, ys, target, lower=lower) for row, (xs, ys) in curves.items()}
    unit = reached[holder].x
    bars = tuple(
        Bar(row, first.x, _text(first, unit), first.end, part.rows.index(row)) for row, first in reached.items()
    )
    return BarPanel(f"training FLOPs to {metric.title} {target:.4g} (best of {holder})", bars)


def _mean_curve(points: Sequence[Measurement]) -> tuple[list[float], list[float]]:
    """Return FLOPs and mean over seeds at each step that has a value."""
    by_flops: dict[int, list[float]] = {}
    for m in points:
        if m.value is not None:
            by_flops.setdefault(m.training_flops, []).append(m.value)
    xs = sorted(by_flops)
    return [float(x) for x in xs], [mean(by_flops[x]) for x in xs]


def _text(reached: TargetReached, unit: float) -> str:
    """Write "2.10 × 10¹², 0.48 ×", or that the target was not reached."""
    share = f", {reached.x / unit:.2f} ×" if unit else ""
    if reached.end == "at least":
        return f"not reached by {scientific(reached.x)}{share}"
    return f"{'≤ ' if reached.end == 'at most' else ''}{scientific(reached.x)}{share}"
