"""Parts common to all collectors: means and 95% intervals as the tables have them, and charts grouped by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analysis.contract.plan_schema import Bands
from analysis.drawing.chart import Chart, Group, Over
from analysis.plan.model import Part, PublishedPlan
from analysis.results.cells import mean
from analysis.results.intervals import CONFIDENCE, SeedValue
from analysis.results.measurements import Measurement
from analysis.results.sampling_error import uncertainty_of_mean


@dataclass(frozen=True)
class PointSummary:
    """Means over seeds at the points of a line, and their intervals."""

    means: tuple[float, ...]
    half_widths: tuple[float, ...]
    """Half-widths of the 95% interval at each point, 0 where there is none; empty if there are none."""
    over: Over
    """Errors that the intervals cover, at the point that covers most."""


def summarize_points(points: Sequence[Sequence[Measurement]], bands: Bands = "pointwise") -> PointSummary:
    """Return means and intervals of the measurements of each point, one a seed, each with a value."""
    return summarize_values(
        [[SeedValue(m.seed, m.value, m.standard_error) for m in seeds if m.value is not None] for seeds in points],
        bands,
    )


def summarize_values(points: Sequence[Sequence[SeedValue]], bands: Bands = "pointwise") -> PointSummary:
    """Return means over seeds, and the intervals of `intervals.uncertainty_of_mean`.

    Args: points: the values of each point, one a seed. bands: "simultaneous" widens all intervals so that with 95%
        every one holds, whatever their dependence (Bonferroni).
    """
    outside = (1 - CONFIDENCE) / (max(1, len(points)) if bands == "simultaneous" else 1)
    errors = [uncertainty_of_mean(seeds) for seeds in points]
    half_widths = (None if one is None else one.half_width_at(outside) for one in errors)
    widths = tuple(width if width is not None and math.isfinite(width) else 0.0 for width in half_widths)
    bases: list[Over] = [one.basis for one in errors if one is not None]
    over = max(bases, key=len) if bases else "samples"
    means = tuple(mean([value.value for value in seeds]) for seeds in points)
    return PointSummary(means, widths if any(widths) else (), over)


def group_by_part(plan: PublishedPlan, make_charts: Callable[[Part, int], Iterable[Chart | None]]) -> tuple[Group, ...]:
    """Group the charts of each part; parts without any are left out.

    Args: make_charts: makes the charts of a part, given also its number from 1; None is no chart.
    """
    charts = ((part, make_charts(part, number)) for number, part in enumerate(plan.parts, 1))
    groups = (Group(part.title, tuple(chart for chart in made if chart)) for part, made in charts)
    return tuple(group for group in groups if group.charts)
