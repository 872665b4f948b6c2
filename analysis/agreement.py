"""Kendall's tau between our order of rows and the paper's, with a bootstrap interval. Pure.

The generator is an argument: the same numbers give the same interval, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.intervals import CONFIDENCE, Basis, SeedValue

NUM_REPLICATES = 2000
FEWEST_ROWS = 3
"""Of two rows tau is +1 or -1, of one it is nothing."""

Array = np.ndarray


@dataclass(frozen=True)
class Agreement:
    """How far two orders of the same rows agree."""

    tau: float
    """Kendall's tau-b: 1 if all pairs of rows stand alike, -1 if all the other way round; ties count as neither."""
    num_rows: int
    low: float | None = None
    high: float | None = None
    """95% percentile interval; None if nothing tells how uncertain our values are."""
    basis: Basis | None = None


def agreement(
    ours: Sequence[Sequence[SeedValue]], published: Sequence[float], generator: np.random.Generator
) -> Agreement | None:
    """Tau between means over seeds and published numbers.

    Args: ours: finite values of each row, [R] of [seeds]. published: [R]; ties as the paper prints them.
    Returns: None below three rows, or if one side ties all of them.
    """
    if len(ours) < FEWEST_ROWS:
        return None
    means = np.array([np.mean([value.value for value in row]) for row in ours])
    tau = float(kendall_tau(means, np.array(published)))
    if np.isnan(tau):
        return None
    drawn = _resampled(ours, generator)
    if drawn is None:
        return Agreement(tau, len(ours))
    replicates, basis = drawn
    taus = kendall_tau(replicates, np.array(published))
    outside = 100 * (1 - CONFIDENCE) / 2
    low, high = np.nanpercentile(taus, [outside, 100 - outside])
    return Agreement(tau, len(ours), float(low), float(high), basis)


def _resampled(ours: Sequence[Sequence[SeedValue]], generator: np.random.Generator) -> tuple[Array, Basis] | None:
    """Means of rows as other seeds and samples might have given them, [B, R]; None if nothing tells.

    Seeds are drawn with replacement, the same for all rows; the error of samples is normal and added on top.
    """
    common = set.intersection(*({value.seed for value in row} for row in ours))
    rows = [[value for value in row if value.seed in common] for row in ours] if len(common) > 1 else ours
    errors = [[value.standard_error for value in row] for row in rows]
    known = all(error is not None for row in errors for error in row)
    if len(common) < 2 and not known:
        return None
    if len(common) > 1:
        values = np.array([[value.value for value in sorted(row, key=lambda value: value.seed)] for row in rows])
        chosen = generator.integers(len(common), size=(NUM_REPLICATES, len(common)))
        means = values[:, chosen].mean(axis=2).T
    else:
        means = np.tile([np.mean([value.value for value in row]) for row in rows], (NUM_REPLICATES, 1))
    if known:
        scale = np.array([np.mean([error or 0.0 for error in row]) for row in errors])
        means = means + scale * generator.standard_normal(means.shape)
    basis: Basis = "samples" if len(common) < 2 else "seeds and samples" if known else "seeds"
    return means, basis


def kendall_tau(ours: Array, published: Array) -> Array:
    """Tau-b of orders, [..., R], with one other, [R] (Kendall 1945); NaN where a side ties all rows. Shape [...]."""
    first, second = np.triu_indices(published.shape[0], 1)
    one, other = np.sign(ours[..., first] - ours[..., second]), np.sign(published[first] - published[second])
    untied = np.sqrt(np.abs(one).sum(-1) * np.abs(other).sum())
    with np.errstate(invalid="ignore"):
        return np.asarray((one * other).sum(-1) / untied)
