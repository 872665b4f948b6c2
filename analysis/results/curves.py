"""Curves over training of the same seeds at all points, and the compute at which they reach a target. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.results.intervals import NORMAL, t_quantile
from analysis.results.measurements import Measurement

Reached = Literal["exact", "at least", "at most"]
_NUM_DRAWS = 500

Array = np.ndarray


def whole_points(points: Sequence[Measurement], seeds: Collection[int] | None = None) -> list[list[Measurement]]:
    """Return the measurements of each step, of the same seeds at all of them; the curve ends where one drops out.

    A mean over whichever seeds are there would jump where one fails or has not come that far.

    Args: points: measurements of a row that have a value. seeds: to take; None: all that the first step has.
    """
    by_step: dict[int, dict[int, Measurement]] = {}
    for point in points:
        by_step.setdefault(point.step, {})[point.seed] = point
    steps = sorted(by_step)
    chosen = sorted(by_step[steps[0]] if seeds is None else seeds) if steps else []
    whole: list[list[Measurement]] = []
    for step in steps:
        if not chosen or not set(chosen) <= by_step[step].keys():
            break
        whole.append([by_step[step][seed] for seed in chosen])
    return whole


def common_seeds(rows: Mapping[str, Sequence[Measurement]]) -> tuple[int, ...]:
    """Return the seeds that every row has at its first step."""
    first = [{point.seed for point in points if point.step == min(p.step for p in points)} for points in rows.values()]
    return tuple(sorted(set.intersection(*first))) if first else ()


@dataclass(frozen=True)
class TargetReached:
    """The first point at which a curve is as good as a target."""

    x: float
    end: Reached
    """at least: the target is not reached, x is the last point; at most: the first point is as good already."""


def first_crossing(xs: Sequence[float], ys: Sequence[float] | Array, target: float, *, lower: bool) -> TargetReached:
    """Find the first point at which a curve, straight between its points, is as good as a target.

    Args: xs: increasing, [N]. ys: values there, [N]; one that is not finite is never good. lower: True if less is
        better.
    """
    sign = 1.0 if lower else -1.0
    gaps = [sign * (y - target) if math.isfinite(y) else math.inf for y in ys]
    for index, gap in enumerate(gaps):
        if gap <= 0:
            if index == 0:
                return TargetReached(xs[0], "exact" if gap == 0 else "at most")
            before = gaps[index - 1]
            share = before / (before - gap) if math.isfinite(before) else 1.0
            return TargetReached(xs[index - 1] + share * (xs[index] - xs[index - 1]), "exact")
    return TargetReached(xs[-1], "at least")


@dataclass(frozen=True)
class SeedCurves:
    """A row's curves, of the same seeds as all other rows'."""

    xs: tuple[float, ...]
    """Training FLOPs, increasing, [T]."""
    ys: Array
    """Values, [N, T]."""
    errors: Array
    """Standard errors over samples, [T]; 0 where they are unknown."""

    @classmethod
    def of(cls, points: Sequence[Sequence[Measurement]]) -> SeedCurves:
        ys = np.array([[math.nan if m.value is None else m.value for m in seeds] for seeds in points]).T
        errors = np.array([np.mean([m.standard_error or 0.0 for m in seeds]) for seeds in points])
        return cls(tuple(float(seeds[0].training_flops) for seeds in points), ys, errors)

    @property
    def mean(self) -> list[float]:
        """Mean over seeds, [T]."""
        return [float(y) for y in self.ys.mean(axis=0)]


@dataclass(frozen=True)
class ReachDraws:
    """The share of compute that a row needs, over bootstrap draws of seeds and of samples' noise."""

    share_reached: float
    """Share of the draws in which it reaches the target."""
    low: float
    high: float
    """95% of the draws lie between; inf where the target is not reached."""


def draw_reach(
    rows: Mapping[str, SeedCurves], baselines: Collection[str], *, lower: bool, target: float | None = None
) -> dict[str, ReachDraws]:
    """Bootstrap each row's FLOPs to reach the best value of the baselines, over those of the baseline that holds it.

    Seeds are drawn for all rows together, which share their data order and noise; a row that does not reach the target
    counts as later than all that do (censored). Draws of few seeds spread too little; they are widened as Student's t
    is wider than the normal distribution. Three seeds have ten different draws: read the interval as a hint.

    Args: target: a fixed one; None: the best of the baselines, anew in each draw.
    """
    generator = np.random.default_rng(0)
    num_seeds = next(iter(rows.values())).ys.shape[0]
    widen = math.sqrt(num_seeds / (num_seeds - 1)) * t_quantile(num_seeds - 1) / NORMAL if num_seeds > 1 else 0.0
    means = {row: curve.ys.mean(axis=0) for row, curve in rows.items()}
    ratios: dict[str, list[float]] = {row: [] for row in rows}
    for _ in range(_NUM_DRAWS):
        seeds = generator.integers(0, num_seeds, num_seeds)
        drawn = {
            row: means[row]
            + widen * (curve.ys[seeds].mean(axis=0) - means[row])
            + curve.errors * generator.standard_normal()
            for row, curve in rows.items()
        }
        holder, best = best_of(drawn, baselines, lower=lower)
        aim = best if target is None else target
        unit = first_crossing(rows[holder].xs, drawn[holder], aim, lower=lower).x
        for row, curve in rows.items():
            reached = first_crossing(curve.xs, drawn[row], aim, lower=lower)
            ratios[row].append(math.inf if reached.end == "at least" or not unit else reached.x / unit)
    return {row: _summary(values) for row, values in ratios.items()}


def best_of(curves: Mapping[str, Sequence[float] | Array], rows: Collection[str], *, lower: bool) -> tuple[str, float]:
    """Return the row, of some, that holds the best finite value of its curve, and that value; inf without any."""
    worst = math.inf if lower else -math.inf
    choose = min if lower else max
    bests = {
        row: choose((float(y) for y in curves[row] if math.isfinite(y)), default=worst) for row in rows if row in curves
    }
    holder = choose(bests, key=bests.__getitem__)
    return holder, bests[holder]


def _summary(ratios: Sequence[float]) -> ReachDraws:
    ordered = sorted(ratios)
    low, high = ordered[int(0.025 * len(ordered))], ordered[min(len(ordered) - 1, int(0.975 * len(ordered)))]
    return ReachDraws(sum(map(math.isfinite, ratios)) / len(ratios), low, high)
