"""Convergence of each metric against training steps, images, FLOPs and accelerator-hours (Figures 4, 8, 9, 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel, slug, wants_log
from analysis.figures.line_selection import select_lines
from analysis.figures.series import spread_of
from analysis.plan.model import Metric, Part
from analysis.results.cells import mean
from analysis.results.comparability import floor_comparability, rows_comparability
from analysis.results.measurements import Measurement, protocols_of
from analysis.text.caveats import chart_caption

Axis = Callable[[Measurement], float | None]


def collect_convergence(evidence: JoinedSweep) -> tuple[Group, ...]:
    """For each part a chart per metric, with a panel per measure of effort; accelerator-hours once they are known.

    Parts whose rows are measured only once have none.
    """
    groups = []
    for number, part in enumerate(evidence.plan.parts, 1):
        charts = (_convergence(evidence, part, metric) for metric in evidence.plan.metrics)
        named = (replace(chart, name=f"convergence-{number}-{chart.name}") for chart in charts if chart)
        groups.append(Group(part.title, tuple(named)))
    return tuple(groups)


def _axes(evidence: JoinedSweep) -> dict[str, Axis]:
    return {
        "training steps": lambda m: m.step,
        "training images": lambda m: m.training_images,
        "training FLOPs": lambda m: m.training_flops,
        "accelerator-hours of training": lambda m: evidence.training_hours(m.digest),
    }


def _convergence(evidence: JoinedSweep, part: Part, metric: Metric) -> Chart | None:
    rows = evidence.values.get((part.name, metric.name), {})
    if not rows or not any(len(trial.evaluations) > 1 for trial in evidence.plan.trials if trial.part == part.name):
        return None
    found = [m for points in rows.values() for m in points]
    comparability = rows_comparability(metric, found)
    floor = real_images(evidence, metric, found) if comparability.comparable else None
    # One scale for a metric in all parts, so that its charts compare.
    log_y = wants_log([m.value for m in evidence.measurements if m.metric == metric.name and m.value is not None])
    panels = []
    crowd = select_lines([(label, line.y[-1]) for label, line in _lines(part, rows, lambda m: m.step)], metric.better)
    for title, axis in _axes(evidence).items():
        lines = crowd.shown(line for _, line in _lines(part, rows, axis))
        stars = _published(evidence, part, metric, rows, axis)
        drawn = (*lines, *(star for label, star in stars if label in crowd.named))
        if drawn:
            panels.append(Panel(title, metric.title, drawn, floor, log_y=log_y))
    caption = chart_caption(comparability)
    last = ", ".join(f"{line.label}: {line.y[-1]:.4g}" for line in panels[0].lines if not line.faint)
    about = (
        f"{part.title}: {metric.title} against training steps, images, FLOPs and accelerator-hours, "
        f"{metric.better} is better. {crowd.note and f'{crowd.note} '}Last values: {last}."
    )
    return Chart(
        name=f"{slug(part.name)}-{slug(metric.name)}",
        title=f"{metric.title}, {metric.better} is better",
        about=f"{about}{caption and f' {caption}'}",
        panels=tuple(panels),
        caption=caption,
        note=crowd.note,
    )


def _lines(part: Part, rows: Mapping[str, Sequence[Measurement]], axis: Axis) -> Iterator[tuple[str, Line]]:
    """A row's mean over seeds at each of its steps; rows whose place on the axis is not known yet are left out."""
    for color, label in enumerate(part.rows):
        by_step: dict[int, list[Measurement]] = {}
        for point in rows.get(label, ()):
            if axis(point) is not None:
                by_step.setdefault(point.step, []).append(point)
        points = [by_step[step] for step in sorted(by_step)]
        if points:
            xs = tuple(mean([x for x in map(axis, seeds) if x is not None]) for seeds in points)
            spread = spread_of(points)
            yield label, Line(label, xs, spread.means, spread.half_widths, color, over=spread.over)


def _published(
    evidence: JoinedSweep, part: Part, metric: Metric, rows: Mapping[str, Sequence[Measurement]], axis: Axis
) -> Iterator[tuple[str, Line]]:
    """What the paper prints for a row, at the row's last place, if it was measured at the same setting and alike."""
    for label, value in evidence.printed.get((part.name, metric.name), {}).items():
        places = [x for x in map(axis, rows.get(label, ())) if x is not None]
        if places:
            color = part.rows.index(label)
            yield label, Line(f"{label} (paper)", (max(places),), (value,), color=color, style="published")


def real_images(evidence: JoinedSweep, metric: Metric, found: Sequence[Measurement]) -> float | None:
    """What real images score, if all measurements have the same floor and it was measured as they were."""
    digests = {evidence.plan.evaluations[m.digest].floor for m in found}
    digest = digests.pop()
    if digests or digest is None:
        return None
    record, planned = evidence.record(digest), evidence.plan.floors[digest].protocols
    compared = floor_comparability(metric, ("", protocols_of(planned, record, metric.name)), found)
    return record.metrics.get(metric.name) if record.status == "done" and compared.comparable else None
