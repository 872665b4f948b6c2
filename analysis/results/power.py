"""The smallest difference between two rows that a sweep finds, before and after it was run. Pure."""

from __future__ import annotations

import math

from scipy.special import stdtrit

from analysis.results.intervals import CONFIDENCE, Uncertainty

POWER = 0.8
"""Chance with which the smallest difference is found."""
MOST_SEEDS = 200


def smallest_difference(
    num_rows: int, num_seeds: int, spread: float, num_families: int, sampling: float = 0.0
) -> float | None:
    """Return the difference between two rows that is called separable in 80% of sweeps.

    Args: num_rows: rows that are compared, 2 or more. spread: deviation over seeds that rows do not share, on the scale
    of     the test. num_families: families of claims in the report. sampling: standard error of the difference by
    finite     samples.
    Returns: None with one seed, which separates nothing.
    """
    if num_seeds < 2:
        return None
    degrees = (num_rows - 1) * (num_seeds - 1)
    errors = Uncertainty(spread * math.sqrt(2 / num_seeds), degrees, sampling or None, num_rows)
    needed = errors.half_width_at((1 - CONFIDENCE) / num_families)
    return needed + float(stdtrit(degrees, POWER)) * math.hypot(errors.of_seeds or 0.0, sampling)


def seeds_needed(
    num_rows: int, difference: float, spread: float, num_families: int, sampling: float = 0.0
) -> int | None:
    """Return the fewest seeds with which a difference is found in 80% of sweeps; None if 200 do not do."""
    for num_seeds in range(2, MOST_SEEDS + 1):
        found = smallest_difference(num_rows, num_seeds, spread, num_families, sampling)
        if found is not None and found <= difference:
            return num_seeds
    return None
