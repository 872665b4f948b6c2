"""Training FLOPs that each row needs to reach the best value of the baselines (the paper: DFM needs about half). Pure.

Means over the seeds that all rows have, on straight lines between evaluations; a row that never gets there, or was
there at its first evaluation, is a bound.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.plan.model import Metric, Part, PublishedPlan
from analysis.results.best_row import largest_block
from analysis.results.comparability import Comparability, rows_comparability
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
from analysis.results.intervals import SeedValue
from analysis.results.measurements import RowMeasurements

_METHOD = "dfm"
"""Paradigm whose rows are no baselines."""


@dataclass(frozen=True)
class RowReached:
    """A row's FLOPs to a target."""

    label: str
    reached: TargetReached
    share: float | None
    """Share of the FLOPs of the baseline that holds the best value; None where it does not reach the target."""
    draws: ReachDraws | None
    """Interval of that share; None if neither a spread over seeds nor an error of samples is known."""


@dataclass(frozen=True)
class Target:
    """A value that rows of a part are to reach."""

    part: Part
    metric: Metric
    value: float
    holder: str
    """Baseline with the best value."""
    is_declared: bool
    """True if the sweep declares it; else it is the best value of the baselines."""
    unit: float
    """FLOPs of that baseline; 0 where it does not reach the target."""
    num_seeds: int
    rows: tuple[RowReached, ...]
    left_out: tuple[str, ...] = ()
    """Rows without a seed in common with the others."""


FoundTarget = tuple[Target | None, Comparability]
"""A target, None where the rows do not compare or lack values; and what makes them comparable."""


def find_targets(
    plan: PublishedPlan, part: Part, values: Mapping[tuple[str, str], RowMeasurements]
) -> Iterator[FoundTarget]:
    """Yield the targets of a part that has baselines and rows of DFM, by all metrics.

    Args: values: by part and metric.
    """
    paradigms = {row: _paradigm(plan, part, row) for row in part.rows}
    baselines = [row for row, paradigm in paradigms.items() if paradigm not in ("", _METHOD)]
    if not baselines or _METHOD not in paradigms.values():
        return
    primary = plan.primary
    for metric in plan.metrics:
        rows = values.get((part.name, metric.name), {})
        comparability = rows_comparability(metric, [m for points in rows.values() for m in points])
        declared = primary.targets if metric.name == primary.metric else ()
        for value in (None, *declared):
            found = _target(part, metric, rows, baselines, value) if comparability.comparable else None
            yield found, comparability


def _paradigm(plan: PublishedPlan, part: Part, row: str) -> str:
    task = plan.trainings.get(plan.trials_of(part.name, row)[0].train)
    return task.paradigm if task else ""


def _target(
    part: Part, metric: Metric, rows: RowMeasurements, baselines: Sequence[str], declared: float | None
) -> Target | None:
    """Return a target; None while no baseline or nothing else has values. Args: declared: None: the baselines' best."""
    lower = metric.better == "lower"
    rows, seeds, left_out = _with_common_seeds(rows)
    points = {row: whole_points(measured, seeds) for row, measured in rows.items()}
    curves = {row: SeedCurves.of(whole) for row, whole in points.items() if whole}
    means = {row: curve.mean for row, curve in curves.items()}
    if len(curves) < 2 or not any(row in curves for row in baselines):
        return None
    holder, best = best_of(means, baselines, lower=lower)
    if not math.isfinite(best):
        return None
    aim = best if declared is None else declared
    reached = {row: first_crossing(curve.xs, means[row], aim, lower=lower) for row, curve in curves.items()}
    unit = reached[holder].x if reached[holder].end != "at least" else 0.0
    draws = draw_reach(curves, baselines, lower=lower, target=declared)
    known = bool(unit) and (len(seeds) > 1 or any(curve.errors.any() for curve in curves.values()))
    found = tuple(
        RowReached(row, first, first.x / unit if unit else None, draws[row] if known else None)
        for row, first in reached.items()
    )
    return Target(part, metric, aim, holder, declared is not None, unit, len(seeds), found, left_out)


def _with_common_seeds(rows: RowMeasurements) -> tuple[RowMeasurements, tuple[int, ...], tuple[str, ...]]:
    """Return rows and the seeds that all of them have; of rows without any in common those with the most values."""
    seeds = common_seeds(rows)
    if seeds or len(rows) < 2:
        return rows, seeds, ()
    block = largest_block({row: [SeedValue(m.seed, 0.0) for m in points] for row, points in rows.items()})
    chosen = {row: rows[row] for row in block.rows} if block else {}
    return chosen, common_seeds(chosen), tuple(row for row in rows if row not in chosen)
