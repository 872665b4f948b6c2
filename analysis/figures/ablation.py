"""A metric against a setting that varies over the rows of a part: tau, steps of the stages, guidance (Figures 3, 6)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel, slug, wants_log
from analysis.figures.series import group_by_part, summarize_points
from analysis.figures.settings_axes import Axis, axis_title, find_varying_settings
from analysis.plan.model import Metric, Part
from analysis.results.comparability import rows_comparability
from analysis.results.measurements import Measurement
from analysis.text.caveats import chart_caption

_FEWEST_VALUES = 3
_MOST_SERIES = 10


def collect_ablations(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make, for each part, a chart per setting that takes three values or more, with a panel per metric.

    A line joins rows that agree in all else; it needs two. Searches are left out: no two of their trials agree.
    """
    return group_by_part(joined_sweep.plan, lambda part, number: _charts(joined_sweep, part, number))


def _charts(joined_sweep: JoinedSweep, part: Part, number: int) -> list[Chart | None]:
    axes, others = find_varying_settings(part.settings) if part.search is None else ((), {})
    return [_ablation(joined_sweep, part, number, axis, axes, others) for axis in axes]


def _ablation(
    joined_sweep: JoinedSweep,
    part: Part,
    number: int,
    axis: Axis,
    axes: Sequence[Axis],
    others: Mapping[str, Mapping[str, str]],
) -> Chart | None:
    if axis.num_values < _FEWEST_VALUES:
        return None
    series = _series(part, axis, axes, others)
    panels, captions = [], dict[str, None]()
    best = []
    for metric in joined_sweep.plan.metrics:
        rows = joined_sweep.last_values(part, metric)
        lines = tuple(_lines(series, axis, rows))
        if not any(line.style == "line" for line in lines):
            continue
        shown = [m for seeds in rows.values() for m in seeds]
        log_y = wants_log([m.value for m in shown if m.value is not None])
        panels.append(Panel(axis.title, metric.title, lines, log_y=log_y))
        captions[chart_caption(rows_comparability(metric, shown))] = None
        best.append(f"{metric.title} is best at {_best(lines, metric)}")
    if not panels:
        return None
    caption = " ".join(filter(None, captions))
    about = f"{part.title}: metrics against {axis.title}, at each row's last evaluation. {'; '.join(best)}."
    name = f"ablation-{number}-{slug(part.name)}-{slug(axis.key)}"
    return Chart(
        name,
        f"{part.title}: {axis.title}",
        f"{about}{caption and f' {caption}'}",
        tuple(panels),
        caption=caption,
        columns=3,
    )


def _series(
    part: Part, axis: Axis, axes: Sequence[Axis], others: Mapping[str, Mapping[str, str]]
) -> dict[str, list[str]]:
    """Group rows into lines, in the order of x, by the settings that they share; a row off the axis is alone."""
    series: dict[str, list[str]] = {}
    for row in part.rows:
        if row not in axis.values:
            series[row] = [row]
            continue
        same = [other for other in axes if other is not axis and row in other.values]
        agreed = [f"{other.title} = {other.values[row]:g}" for other in same]
        agreed += [f"{axis_title(key)} = {text}" for key, text in others.get(row, {}).items()]
        series.setdefault(", ".join(agreed), []).append(row)
    return {label: sorted(rows, key=lambda row: axis.values.get(row, 0.0)) for label, rows in series.items()}


def _lines(
    series: Mapping[str, Sequence[str]], axis: Axis, rows: Mapping[str, Sequence[Measurement]]
) -> Iterator[Line]:
    long = [(label, names) for label, names in series.items() if len(names) > 1 or names[0] not in axis.values]
    for color, (label, names) in enumerate(long[:_MOST_SERIES]):
        measured = [name for name in names if name in rows]
        if not measured:
            continue
        summary = summarize_points([rows[name] for name in measured])
        if names[0] not in axis.values:
            yield Line(label, (math.nan,), summary.means, color=color, style="level")
        elif len(measured) > 1:
            xs = tuple(axis.values[name] for name in measured)
            yield Line(label, xs, summary.means, summary.half_widths, color, over=summary.over)


def _best(lines: Sequence[Line], metric: Metric) -> str:
    points = [(y, x, line.label) for line in lines for x, y in zip(line.x, line.y, strict=True) if math.isfinite(y)]
    if not points:
        return "no finite value"
    y, x, label = (min if metric.better == "lower" else max)(points)
    return f"{y:.4g} ({', '.join(filter(None, [f'{x:g}' if math.isfinite(x) else '', label]))})"
