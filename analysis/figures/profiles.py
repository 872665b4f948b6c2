"""Performance profiles: the share of runs within a factor of the best, of rows that stand in several parts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from analysis.comparison.across_parts import AcrossParts
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.drawing.chart import Chart, Group, Line, Panel
from analysis.figures.line_selection import select_lines
from analysis.results.significance import ratio_of
from analysis.text.numbers import percent

_ROUNDING = 1e-9


def collect_profiles(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make one chart by the primary metric, over the parts and seeds that the rows share; none without two parts."""
    across = joined_sweep.across_parts
    if across is None:
        return ()
    parts = ", ".join(part.title for part in across.parts)
    unit = "ratio to the best row of a part and seed" if across.is_log else "distance from the best row"
    nearness = [(row, float(values.mean())) for row, values in across.distances_from_best.items()]
    selection = select_lines(nearness, "lower")
    lines = selection.shown(_lines(across))
    best = ", ".join(f"{line.label} {percent(line.y[1])}" for line in lines if not line.faint)
    about = (
        f"Share of runs of each row that are within a {'factor' if across.is_log else 'distance'} of the best row's at "
        f"the same part and seed, by {across.metric.title}; parts: {parts}. Themselves the best: {best}."
    )
    panel = Panel(f"{across.metric.title}: {unit}", "share of runs within it", lines)
    return (
        Group(
            "Over all parts",
            (Chart("profile", across.metric.title, about, (panel,), markers=False, note=selection.note),),
        ),
    )


def _lines(across: AcrossParts) -> Iterator[Line]:
    """Yield a staircase for each row; its second point is the share of runs that are the best ones themselves."""
    distances = {row: np.sort(values.ravel()) for row, values in across.distances_from_best.items()}
    start = 1.0 if across.is_log else 0.0
    end = max(float(values[-1]) for values in distances.values())
    last = (ratio_of(end) if across.is_log else end) + 0.05 * max(end, _ROUNDING)
    for color, (row, values) in enumerate(distances.items()):
        num_best = int((values <= _ROUNDING).sum())
        xs, ys = [start, start], [0.0, num_best / len(values)]
        for place, distance in enumerate(map(float, values[num_best:]), num_best + 1):
            x = ratio_of(distance) if across.is_log else distance
            xs, ys = [*xs, x, x], [*ys, ys[-1], place / len(values)]
        yield Line(row, (*xs, last), (*ys, 1.0), color=color)
