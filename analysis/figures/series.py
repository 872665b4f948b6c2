"""Means and 95% intervals of the points of a line, as the tables have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.drawing.chart import Chart, Group, Over
from analysis.plan.model import Part, PublishedPlan
from analysis.results.cells import mean
from analysis.results.intervals import SeedValue, uncertainty_of_mean
from analysis.results.measurements import Measurement


@dataclass(frozen=True)
class Spread:
    """The points of a line."""

    means: tuple[float, ...]
    half_widths: tuple[float, ...]
    """Of the 95% interval at each point, 0 where there is none; empty if there are none."""
    over: Over


def spread_of(points: Sequence[Sequence[Measurement]]) -> Spread:
    """What a line shows.

    Args: points: the measurements of each point, one a seed, each with a value.
    Returns: means over seeds, and the intervals of `intervals.uncertainty_of_mean`; what they are over is that of
        the point that has most in it.
    """
    values = [[SeedValue(m.seed, m.value, m.standard_error) for m in seeds if m.value is not None] for seeds in points]
    found = [uncertainty_of_mean(seeds) for seeds in values]
    widths = tuple(0.0 if one is None or not math.isfinite(one.half_width) else one.half_width for one in found)
    bases: list[Over] = [one.basis for one in found if one is not None]
    over = max(bases, key=len) if bases else "samples"
    means = tuple(mean([value.value for value in seeds]) for seeds in values)
    return Spread(means, widths if any(widths) else (), over)


def one_of_each_part(plan: PublishedPlan, draw: Callable[[Part, int], Chart | None]) -> tuple[Group, ...]:
    """Args: draw: the chart of a part and its number, which counts from 1; None: there is nothing to draw of it."""
    charts = ((part, draw(part, number)) for number, part in enumerate(plan.parts, 1))
    return tuple(Group(part.title, (chart,)) for part, chart in charts if chart is not None)
