"""What the charts show, as plain data: convergence of each metric and the training losses. Pure; drawing.py draws."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.comparability import floor_comparability, rows_comparability
from analysis.flags import chart_caption
from analysis.intervals import half_width
from analysis.layouts import floor_cell, mean
from analysis.measurements import Measurement
from analysis.plan_types import Metric, Part, PlanFile
from analysis.records import MISSING, Curve, Record

_MOST_POINTS = 400
_LOG_SCALE_FROM_RATIO = 20.0


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    half_widths: tuple[float, ...] = ()
    """Of the 95% t-interval at each point; empty for a single seed."""
    color: int = 0
    """Index into the palette, the same for the same thing in all panels."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    floor: float | None = None
    """What real images score: a dashed line."""


@dataclass(frozen=True)
class Chart:
    """One figure: panels side by side with one legend."""

    name: str
    """File name without its ending."""
    title: str
    about: str
    """What it shows, in words: the alternative text."""
    panels: tuple[Panel, ...]
    log_y: bool
    markers: bool
    caption: str = ""
    """Why its lines do not compare; empty if they do."""


def collect_convergence(
    plan: PlanFile, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> tuple[tuple[Part, tuple[Chart, ...]], ...]:
    """For each part a chart per metric: against training steps and against training FLOPs, mean over seeds."""
    collected = []
    for number, part in enumerate(plan.parts, 1):
        charts = (_convergence(plan, part, metric, measurements, records) for metric in plan.metrics)
        named = [replace(chart, name=f"convergence-{number}-{chart.name}") for chart in charts if chart]
        collected.append((part, tuple(named)))
    return tuple(collected)


def _convergence(
    plan: PlanFile, part: Part, metric: Metric, measurements: Sequence[Measurement], records: Mapping[str, Record]
) -> Chart | None:
    found = [m for m in measurements if (m.part, m.metric) == (part.name, metric.name) and m.value is not None]
    rows = [(color, label, [m for m in found if m.row == label]) for color, label in enumerate(part.rows)]
    by_step = tuple(_line(label, points, "step", color) for color, label, points in rows if points)
    by_flops = tuple(_line(label, points, "training_flops", color) for color, label, points in rows if points)
    if not by_step:
        return None
    comparability = rows_comparability(metric, found)
    floor = _floor(plan, metric, found, records) if comparability.comparable else None
    panels = (
        Panel("training steps", metric.title, by_step, floor),
        Panel("training FLOPs", metric.title, by_flops, floor),
    )
    # One scale for a metric in all parts, so that its charts compare.
    values = [m.value for m in measurements if m.metric == metric.name and m.value is not None]
    last = ", ".join(f"{line.label}: {line.y[-1]:.4g}" for line in by_step)
    caption = chart_caption(comparability)
    return Chart(
        name=f"{slug(part.name)}-{slug(metric.name)}",
        title=f"{metric.title}, {metric.better} is better",
        about=f"{part.title}: {metric.title} against training steps and FLOPs, {metric.better} is better. "
        f"Last values: {last}.{caption and f' {caption}'}",
        panels=panels,
        log_y=_wants_log(values),
        markers=True,
        caption=caption,
    )


def _floor(plan: PlanFile, metric: Metric, found: Sequence[Measurement], records: Mapping[str, Record]) -> float | None:
    """What real images score, if all measurements have the same floor and it was measured as they were."""
    digests = {plan.evaluations[m.digest].floor for m in found}
    digest = digests.pop()
    if digests or digest is None:
        return None
    cell = floor_cell(metric, plan.floors[digest], records.get(digest, MISSING))
    compared = (floor_comparability(metric, ("", protocols), found) for protocols in cell.protocols)
    return cell.mean if all(comparability.comparable for comparability in compared) else None


def _line(label: str, points: Sequence[Measurement], axis: Literal["step", "training_flops"], color: int) -> Line:
    """A row's mean over seeds, at each x that has a value."""
    by_x: dict[int, list[float]] = {}
    for point in points:
        assert point.value is not None, "points are filtered"
        by_x.setdefault(point.step if axis == "step" else point.training_flops, []).append(point.value)
    xs = sorted(by_x)
    widths = [half_width(by_x[x]) for x in xs]
    band = tuple(width or 0.0 for width in widths) if any(width is not None for width in widths) else ()
    return Line(label, tuple(map(float, xs)), tuple(mean(by_x[x]) for x in xs), band, color)


def collect_losses(plan: PlanFile, records: Mapping[str, Record]) -> Chart | None:
    """The training losses, one panel for the loss and one for that of each stage; None before the first point."""
    labels = plan.training_labels()
    trainings = [(digest, records.get(digest, MISSING)) for digest in plan.trainings]
    names = sorted({name for _, record in trainings for name, curve in record.curves.items() if curve})
    panels = []
    for name in names:
        lines = (
            _loss_line(labels[digest], record.curves[name], color)
            for color, (digest, record) in enumerate(trainings)
            if record.curves.get(name)
        )
        panels.append(Panel("training steps", name.replace("_", " "), tuple(lines)))
    if not panels:
        return None
    last = ", ".join(f"{line.label}: {line.y[-1]:.4g}" for line in panels[0].lines)
    return Chart(
        name="training-loss",
        title="Training loss",
        about=f"Training losses against training steps. Last values of the {panels[0].y_label}: {last}.",
        panels=tuple(panels),
        log_y=_wants_log([y for panel in panels for line in panel.lines for y in line.y]),
        markers=False,
    )


def _loss_line(label: str, curve: Curve, color: int) -> Line:
    thinned = thin(curve)
    return Line(label, tuple(float(step) for step, _ in thinned), tuple(value for _, value in thinned), (), color)


def thin(curve: Curve) -> Curve:
    """At most 400 points: the mean of neighbours, at the step of the last of them."""
    size = math.ceil(len(curve) / _MOST_POINTS)
    groups = [curve[start : start + size] for start in range(0, len(curve), max(size, 1))]
    return tuple((group[-1][0], mean([value for _, value in group])) for group in groups)


def slug(text: str) -> str:
    """A name that is safe in paths and URLs."""
    return re.sub(r"[^A-Za-z0-9_.=]+", "-", text).strip("-.")[:60] or "x"


def _wants_log(values: Sequence[float]) -> bool:
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) / min(finite) >= _LOG_SCALE_FROM_RATIO
