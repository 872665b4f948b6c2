"""Range of an axis: all values, and intervals as long as they leave the values readable.

With two seeds a t-interval is nine times as wide as the seeds spread; one such row must not flatten all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from analysis.drawing.chart import Panel

_MARGIN = 0.05
_BEYOND = 0.5
"""Longest reach of intervals beyond the values on each side, as a share of the values' range."""


def y_range(panel: Panel) -> tuple[float, float] | None:
    """Return the ends of the y axis; None, which leaves them to matplotlib, if values are all alike or none is finite.

    All values and that of real images are inside, and on each side half of the intervals in full.
    """
    known = [y for line in panel.lines for y in line.y] + ([] if panel.real_images is None else [panel.real_images])
    values = [scaled for y in known if (scaled := _scaled(y, log=panel.log_y)) is not None]
    low, high = min(values, default=0.0), max(values, default=0.0)
    if low == high:
        return None
    room = _BEYOND * (high - low)
    lower = max(low - max(room, _median(panel, -1)), min([low, *_tips(panel, -1)]))
    upper = min(high + max(room, _median(panel, 1)), max([high, *_tips(panel, 1)]))
    margin = _MARGIN * (upper - lower)
    ends = lower - margin, upper + margin
    return (10 ** ends[0], 10 ** ends[1]) if panel.log_y else ends


def _scaled(value: float, *, log: bool) -> float | None:
    """Return a value on its axis; None if it is not finite there."""
    if log:
        return math.log10(value) if 0 < value < math.inf else None
    return value if math.isfinite(value) else None


def _intervals(panel: Panel, sign: int) -> Iterator[tuple[float, float]]:
    """Yield each value that has an interval, and its end on one side; a logarithmic axis never shows zero."""
    for line in (line for line in panel.lines if not line.faint):
        for y, width in zip(line.y, line.half_widths, strict=False):
            value, tip = (_scaled(number, log=panel.log_y) for number in (y, y + sign * width))
            if value is not None and width > 0:
                yield value, sign * math.inf if tip is None else tip


def _tips(panel: Panel, sign: int) -> list[float]:
    return [tip for _, tip in _intervals(panel, sign)]


def _median(panel: Panel, sign: int) -> float:
    """Return the median length of the intervals that end on the axis; 0 without any."""
    lengths = sorted(abs(tip - value) for value, tip in _intervals(panel, sign) if math.isfinite(tip))
    return lengths[len(lengths) // 2] if lengths else 0.0
