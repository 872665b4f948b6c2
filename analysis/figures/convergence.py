"""Convergence of each metric against training steps, images, FLOPs and accelerator-hours (Figures 4, 8, 9, 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from analysis.comparison.joined_sweep import JoinedSweep
from analysis.contract.plan_schema import Bands
from analysis.drawing.chart import Chart, Group, Line, Panel, slug, wants_log
from analysis.figures.line_selection import select_lines
from analysis.figures.series import group_by_part, summarize_points
from analysis.plan.model import Metric, Part
from analysis.results.cells import mean
from analysis.results.comparability import real_images_comparability, rows_comparability
from analysis.results.curves import whole_points
from analysis.results.measurements import Measurement, protocols_of
from analysis.text.caveats import chart_caption

Axis = Callable[[Measurement], float | None]


def collect_convergence(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make, for each part, a chart per metric, with a panel per measure of effort; accelerator-hours once known.

    Parts whose rows are measured only once have none. Metrics other than the primary one are folded.
    """
    primary = joined_sweep.plan.primary.metric
    metrics = sorted(joined_sweep.plan.metrics, key=lambda metric: metric.name != primary)  # the primary one first
    groups = group_by_part(
        joined_sweep.plan, lambda part, number: (_convergence(joined_sweep, part, number, metric) for metric in metrics)
    )
    return tuple(
        group
        for all_metrics in groups
        for group in (
            replace(all_metrics, charts=all_metrics.charts[:1]),
            Group(f"Other metrics: {all_metrics.title}", all_metrics.charts[1:], folded=True),
        )
        if group.charts
    )


def _axes(joined_sweep: JoinedSweep) -> dict[str, Axis]:
    return {
        "training steps": lambda m: m.step,
        "training images": lambda m: m.training_images,
        "training FLOPs": lambda m: m.training_flops,
        "accelerator-hours of training": lambda m: joined_sweep.training_hours(m.digest),
    }


def _convergence(joined_sweep: JoinedSweep, part: Part, number: int, metric: Metric) -> Chart | None:
    rows = joined_sweep.values.get((part.name, metric.name), {})
    if not rows or not any(len(trial.evaluations) > 1 for trial in joined_sweep.plan.trials if trial.part == part.name):
        return None
    shown = [m for points in rows.values() for m in points]
    comparability = rows_comparability(metric, shown)
    real_images = _real_images_score(joined_sweep, metric, shown) if comparability.comparable else None
    # One scale for a metric in all parts, so that its charts compare.
    log_y = wants_log([m.value for m in joined_sweep.measurements if m.metric == metric.name and m.value is not None])
    panels = []
    bands = joined_sweep.plan.primary.bands
    selection = select_lines(
        [(label, line.y[-1]) for label, line in _lines(part, rows, lambda m: m.step, bands)], metric.better
    )
    for title, axis in _axes(joined_sweep).items():
        lines = selection.shown(line for _, line in _lines(part, rows, axis, bands))
        stars = _published(joined_sweep, part, metric, rows, axis)
        drawn = (*lines, *(star for label, star in stars if label in selection.named))
        if drawn:
            panels.append(Panel(title, metric.title, drawn, real_images, log_y=log_y))
    caption = chart_caption(comparability)
    many = len(joined_sweep.plan.seeds) > 1
    lines_are = f" Lines: {_seeds_text(joined_sweep, part, rows)}." if many else ""
    has_bands = any(line.half_widths for line in panels[0].lines)
    simultaneous = " Bands hold at all points of a line at once." if bands == "simultaneous" and has_bands else ""
    last = ", ".join(f"{line.label}: {line.y[-1]:.4g}" for line in panels[0].lines if not line.faint)
    about = (
        f"{part.title}: {metric.title} against training steps, images, FLOPs and accelerator-hours, "
        f"{metric.better} is better; {_seeds_text(joined_sweep, part, rows)}. "
        f"{selection.note and f'{selection.note} '}Last values: {last}.{simultaneous}"
    )
    return Chart(
        name=f"convergence-{number}-{slug(part.name)}-{slug(metric.name)}",
        title=f"{metric.title}, {metric.better} is better",
        about=f"{about}{caption and f' {caption}'}",
        panels=tuple(panels),
        caption=caption,
        note=f"{selection.note}{lines_are}{simultaneous}".strip(),
        has_choice=True,
    )


def _seeds_text(joined_sweep: JoinedSweep, part: Part, rows: Mapping[str, Sequence[Measurement]]) -> str:
    """Say over how many seeds each line is a mean, "n = 2 to 3 of 3 seeds"."""
    points = (whole_points(rows.get(label, ())) for label in part.rows)
    counts = sorted({len(whole[0]) for whole in points if whole})
    return (
        f"n = {' to '.join(map(str, dict.fromkeys((counts[0], counts[-1]))))} of {len(joined_sweep.plan.seeds)} seeds"
    )


def _lines(
    part: Part, rows: Mapping[str, Sequence[Measurement]], axis: Axis, bands: Bands
) -> Iterator[tuple[str, Line]]:
    """Yield each row's mean over seeds at each of its steps; points of unknown place on the axis are left out."""
    for color, label in enumerate(part.rows):
        points = whole_points([point for point in rows.get(label, ()) if axis(point) is not None])
        if points:
            xs = tuple(mean([x for x in map(axis, seeds) if x is not None]) for seeds in points)
            summary = summarize_points(points, bands)
            yield (
                label,
                Line(label, xs, summary.means, summary.half_widths, color, over=summary.over, num_seeds=len(points[0])),
            )


def _published(
    joined_sweep: JoinedSweep, part: Part, metric: Metric, rows: Mapping[str, Sequence[Measurement]], axis: Axis
) -> Iterator[tuple[str, Line]]:
    """Yield the paper's number of each row, at the row's last place, if setting and protocol are the same."""
    for label, value in joined_sweep.printed.get((part.name, metric.name), {}).items():
        places = [x for x in map(axis, rows.get(label, ())) if x is not None]
        if places:
            color = part.rows.index(label)
            yield label, Line(f"{label} (paper)", (max(places),), (value,), color=color, style="published")


def _real_images_score(joined_sweep: JoinedSweep, metric: Metric, shown: Sequence[Measurement]) -> float | None:
    """Return the score of real images, if all measurements share it and it was measured as they were."""
    digests = {joined_sweep.plan.evaluations[m.digest].floor for m in shown}
    digest = digests.pop()
    if digests or digest is None:
        return None
    record, planned = joined_sweep.record(digest), joined_sweep.plan.floors[digest].protocols
    compared = real_images_comparability(metric, ("", protocols_of(planned, record, metric.name)), shown)
    return record.metrics.get(metric.name) if record.status == "done" and compared.comparable else None
