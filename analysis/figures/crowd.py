"""Which of many lines a chart shows in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.figures.chart import Line

MOST_LINES = 12


def thinned_out(lines: Sequence[Line], better: str) -> tuple[frozenset[str], str]:
    """Labels of the lines to show in colour, and a sentence if that is not all: those whose last value is best.

    Args: lines: in the table's order. better: lower or higher.
    """
    if len(lines) <= MOST_LINES:
        return frozenset(line.label for line in lines), ""
    sign = 1.0 if better == "lower" else -1.0

    def rank(line: Line) -> float:
        return sign * line.y[-1] if math.isfinite(line.y[-1]) else math.inf

    best = sorted(lines, key=rank)[:MOST_LINES]
    return frozenset(line.label for line in best), f"The best {MOST_LINES} of {len(lines)} rows have colour and name."
