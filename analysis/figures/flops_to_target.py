"""Training FLOPs that each row needs to reach the best value of the baselines (the paper: DFM needs about half)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from analysis.comparison.joined_sweep import JoinedSweep, RowMeasurements
from analysis.drawing.chart import Bar, BarPanel, Chart, Group, slug
from analysis.figures.series import group_by_part
from analysis.plan.model import Metric, Part
from analysis.results.comparability import rows_comparability
from analysis.results.curves import (
    ReachDraws,
    SeedCurves,
    TargetReached,
    best_of,
    common_seeds,
    draw_reach,
    first_crossing,
    whole_points,
)
from analysis.text.caveats import chart_caption
from analysis.text.numbers import scientific

_METHOD = "dfm"
"""Paradigm whose rows are no baselines."""


def collect_flops_to_target(joined_sweep: JoinedSweep) -> tuple[Group, ...]:
    """Make a chart with a panel per metric for each part that has baselines and rows of DFM."""
    return group_by_part(joined_sweep.plan, lambda part, number: [_chart(joined_sweep, part, number)])


def _chart(joined_sweep: JoinedSweep, part: Part, number: int) -> Chart | None:
    baselines = [row for row in part.rows if _paradigm(joined_sweep, part, row) not in ("", _METHOD)]
    methods = [row for row in part.rows if _paradigm(joined_sweep, part, row) == _METHOD]
    if not baselines or not methods:
        return None
    panels, captions = [], dict[str, None]()
    texts = []
    for metric in joined_sweep.plan.metrics:
        rows = joined_sweep.values.get((part.name, metric.name), {})
        comparability = rows_comparability(metric, [m for points in rows.values() for m in points])
        captions[chart_caption(comparability)] = None
        primary = joined_sweep.plan.primary
        declared = primary.targets if metric.name == primary.metric else ()
        made = (_panel(part, metric, rows, baselines, target) for target in (None, *declared))
        for panel in filter(None, made) if comparability.comparable else ():
            panels.append(panel)
            texts.append(f"{panel.x_label}: " + ", ".join(f"{bar.label} {bar.text}" for bar in panel.bars))
    if not panels:
        return None
    about = f"{part.title}: training FLOPs until each row is as good as the best baseline. {'; '.join(texts)}."
    title = "FLOPs to reach the best of the baselines"
    caption = " ".join(filter(None, captions))
    return Chart(f"reach-{number}-{slug(part.name)}", title, about, tuple(panels), caption=caption, columns=1)


def _paradigm(joined_sweep: JoinedSweep, part: Part, row: str) -> str:
    task = joined_sweep.plan.trainings.get(joined_sweep.plan.trials_of(part.name, row)[0].train)
    return task.paradigm if task else ""


def _panel(
    part: Part, metric: Metric, rows: RowMeasurements, baselines: Sequence[str], target: float | None = None
) -> BarPanel | None:
    """Make a bar of each row that has values; None while no baseline or nothing else has any.

    Args: target: declared by the sweep; None: the best value of the baselines.
    """
    lower = metric.better == "lower"
    seeds = common_seeds(rows)
    points = {row: whole_points(measured, seeds) for row, measured in rows.items()}
    curves = {row: SeedCurves.of(whole) for row, whole in points.items() if whole}
    means = {row: curve.mean for row, curve in curves.items()}
    if len(curves) < 2 or not any(row in curves for row in baselines):
        return None
    holder, best = best_of(means, baselines, lower=lower)
    if not math.isfinite(best):
        return None
    aim = best if target is None else target
    reached = {row: first_crossing(curve.xs, means[row], aim, lower=lower) for row, curve in curves.items()}
    unit = reached[holder].x if reached[holder].end != "at least" else 0.0
    draws = draw_reach(curves, baselines, lower=lower, target=target)
    known = len(seeds) > 1 or any(curve.errors.any() for curve in curves.values())
    bars = tuple(
        _bar(row, first, unit, draws[row] if known else None, part.rows.index(row)) for row, first in reached.items()
    )
    source = f"best of {holder}" if target is None else "declared"
    num_seeds = f"{len(seeds)} seed{'' if len(seeds) == 1 else 's'}"
    return BarPanel(f"training FLOPs to {metric.title} {aim:.4g} ({source}; {num_seeds})", bars, len(seeds))


def _bar(row: str, first: TargetReached, unit: float, draws: ReachDraws | None, color: int) -> Bar:
    text = _text(first, unit, draws)
    if draws is None or not unit:
        return Bar(row, first.x, text, first.end, color)
    low, high = (unit * end if math.isfinite(end) else None for end in (draws.low, draws.high))
    return Bar(row, first.x, text, first.end, color, low, high, draws.share_reached)


def _text(reached: TargetReached, unit: float, draws: ReachDraws | None) -> str:
    """Write "2.10 × 10¹², 0.48 × (0.31 to 0.95; reached in 97%)", or that the target was not reached."""
    share = f", {reached.x / unit:.2f} ×" if unit else ""
    if draws is not None and unit:
        ends = f"{draws.low:.2f} to {draws.high:.2f}" if math.isfinite(draws.high) else f"from {draws.low:.2f}"
        share += f" ({f'{ends}; ' if math.isfinite(draws.low) else ''}reached in {draws.share_reached:.0%})"
    if reached.end == "at least":
        return f"not reached by {scientific(reached.x)}{share}"
    return f"{'≤ ' if reached.end == 'at most' else ''}{scientific(reached.x)}{share}"
