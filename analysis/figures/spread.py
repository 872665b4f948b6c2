"""Means and 95% intervals of the points of a line: over seeds, or of one seed over its samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analysis.figures.chart import Over
from analysis.intervals import half_width
from analysis.layouts import mean
from analysis.measurements import Measurement

_NORMAL_QUANTILE = 1.959964


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
    Returns: t-intervals over seeds if any point has several; else 1.96 standard errors over samples, where they are
        known, which assumes that these are roughly normal and says nothing of another seed.
    """
    values = [[m.value for m in seeds if m.value is not None] for seeds in points]
    over_seeds = any(len(seeds) > 1 for seeds in values)
    if over_seeds:
        widths = [half_width(seeds) for seeds in values]
    else:
        errors = [seeds[0].standard_error for seeds in points]
        widths = [None if error is None else _NORMAL_QUANTILE * error for error in errors]
    known = tuple(0.0 if width is None or not math.isfinite(width) else width for width in widths)
    return Spread(tuple(map(mean, values)), known if any(known) else (), "seeds" if over_seeds else "samples")
