"""Parts common to all collectors: means and 95% intervals as the tables have them, and charts grouped by part."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from analysis.drawing.chart import Chart, Group, Over
from analysis.plan.model import Part, PublishedPlan
from analysis.results.cells import mean
from analysis.results.intervals import SeedValue
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


def summarize_points(points: Sequence[Sequence[Measurement]]) -> PointSummary:
    """Return means over seeds, and the intervals of `intervals.uncertainty_of_mean`.

    Args: points: the measurements of each point, one a seed, each with a value.
    """
    values = [[SeedValue(m.seed, m.value, m.standard_error) for m in seeds if m.value is not None] for seeds in points]
    errors = [uncertainty_of_mean(seeds) for seeds in values]
    widths = tuple(0.0 if one is None or not math.isfinite(one.half_width) else one.half_width for one in errors)
    bases: list[Over] = [one.basis for one in errors if one is not None]
    over = max(bases, key=len) if bases else "samples"
    means = tuple(mean([value.value for value in seeds]) for seeds in values)
    return PointSummary(means, widths if any(widths) else (), over)


def group_by_part(plan: PublishedPlan, make_charts: Callable[[Part, int], Iterable[Chart | None]]) -> tuple[Group, ...]:
    """Group the charts of each part; parts without any are left out.

    Args: make_charts: makes the charts of a part, given also its number from 1; None is no chart.
    """
    charts = ((part, make_charts(part, number)) for number, part in enumerate(plan.parts, 1))
    groups = (Group(part.title, tuple(chart for chart in made if chart)) for part, made in charts)
    return tuple(group for group in groups if group.charts)
