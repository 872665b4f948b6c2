"""Means and 95% intervals of the points of a line, as the tables have them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.figures.chart import Over
from analysis.intervals import SeedValue, uncertainty_of_mean
from analysis.layouts import mean
from analysis.measurements import Measurement


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
