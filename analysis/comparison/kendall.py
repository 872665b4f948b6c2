"""Kendall's tau between our order of rows and the paper's, with a bootstrap interval. Pure.

The bootstrap is parametric. The effect of a seed that all rows share is taken out; the rest of a row is drawn from
Student's t, as its interval is. Drawing seeds with replacement, as is usual with many, hardly ever changes the order of
rows of three seeds. The interval holds the true tau in 95% of the cases or more; with rows that are all equal in truth,
so that any order is luck, in 90% (tests/analysis/comparison/test_kendall.py). The generator is an argument: the same
numbers give the same interval, byte for byte.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.stats import kendalltau

from analysis.results.intervals import CONFIDENCE, Basis, SeedValue
from analysis.results.sampling_error import sampling_variance

NUM_REPLICATES = 2000
FEWEST_ROWS = 3
"""Fewest rows that have a tau: with two it could only be +1 or -1."""

_MOST_PERMUTED = 7
Array = np.ndarray


@dataclass(frozen=True)
class RankAgreement:
    """Agreement of two orders of the same rows."""

    tau: float
    """Kendall's tau-b: 1 if all pairs of rows agree, -1 if all are reversed; ties count as neither."""
    num_rows: int
    low: float | None = None
    high: float | None = None
    """Ends of the 95% interval; None if the uncertainty of our values is unknown."""
    basis: Basis | None = None
    p_value: float = 1.0
    """Share of all orders of our rows whose tau is as far from 0: the paper's values are taken as exact."""


def rank_agreement(
    ours: Sequence[Sequence[SeedValue]], published: Sequence[float], generator: np.random.Generator
) -> RankAgreement | None:
    """Return tau between means over seeds and published numbers.

    Args: ours: finite values of each row, [R] of [seeds]. published: [R]; ties as the paper prints them.
    Returns: None below three rows, or if one side ties all of them.
    """
    if len(ours) < FEWEST_ROWS:
        return None
    means = np.array([np.mean([value.value for value in row]) for row in ours])
    tau = float(kendall_tau(means, np.array(published)))
    if np.isnan(tau):
        return None
    p_value = chance_of_order(means, np.array(published))
    drawn = _draw_means(ours, generator)
    if drawn is None:
        return RankAgreement(tau, len(ours), p_value=p_value)
    replicates, basis = drawn
    taus = kendall_tau(replicates, np.array(published))
    outside = 100 * (1 - CONFIDENCE) / 2
    # Tau is a step function: take values that occur, the wider ones.
    low = np.nanpercentile(taus, outside, method="lower")
    high = np.nanpercentile(taus, 100 - outside, method="higher")
    return RankAgreement(tau, len(ours), float(low), float(high), basis, p_value)


def _draw_means(ours: Sequence[Sequence[SeedValue]], generator: np.random.Generator) -> tuple[Array, Basis] | None:
    """Draw means of rows as other seeds and samples might have given them, [B, R]; None if their error is unknown.

    The error of samples is normal, independent for each row, and added on top.
    """
    common = sorted(set.intersection(*({value.seed for value in row} for row in ours)))
    sampling = [sampling_variance(row) for row in ours]
    known = [variance for variance in sampling if variance is not None]
    whole = len(known) == len(ours)
    alone = all(len(row) > 1 for row in ours)
    if len(common) < 2 and not whole and not alone:
        return None
    means = np.tile([np.mean([value.value for value in row]) for row in ours], (NUM_REPLICATES, 1))
    if len(common) > 1:
        by_seed = [{value.seed: value.value for value in row} for row in ours]
        means += _draw_seed_errors(np.array([[row[seed] for seed in common] for row in by_seed]), generator)
    elif alone:  # no two seeds in common: what seeds do to all rows cannot be taken out
        for column, row in enumerate(ours):
            spread = float(np.std([value.value for value in row], ddof=1)) / math.sqrt(len(row))
            means[:, column] += spread * generator.standard_t(len(row) - 1, NUM_REPLICATES)
    if not whole and all(len({value.value for value in row}) == 1 for row in ours):
        return None  # no spread at all is no certainty
    if whole:
        means += np.sqrt(known) * generator.standard_normal(means.shape)
    return means, "samples" if len(common) < 2 and not alone else "seeds and samples" if whole else "seeds"


def _draw_seed_errors(values: Array, generator: np.random.Generator) -> Array:
    """Draw errors of the means of values, [R, N], independent by row, without the effect that rows share; [B, R]."""
    num_rows, num_seeds = values.shape
    own = values - values.mean(axis=0, keepdims=True)
    # Taking out the mean of all rows takes 1 / R of each row's own variance with it.
    spread = own.std(axis=1, ddof=1) * np.sqrt(num_rows / (num_rows - 1) / num_seeds)
    return np.asarray(spread * generator.standard_t(num_seeds - 1, (NUM_REPLICATES, num_rows)))


def kendall_tau(ours: Array, published: Array) -> Array:
    """Return tau-b of orders, [..., R], with one other, [R] (Kendall 1945), [...]; NaN where a side ties all rows."""
    first, second = np.triu_indices(published.shape[0], 1)
    one, other = np.sign(ours[..., first] - ours[..., second]), np.sign(published[first] - published[second])
    untied = np.sqrt(np.abs(one).sum(-1) * np.abs(other).sum())
    with np.errstate(invalid="ignore"):
        return np.asarray((one * other).sum(-1) / untied)


def chance_of_order(ours: Array, published: Array) -> float:
    """Return the two-sided p of tau by permutation: exact up to seven rows, beyond by scipy's `kendalltau`.

    Args: ours: [R]. published: [R].
    """
    if len(ours) > _MOST_PERMUTED:
        return float(kendalltau(ours, published).pvalue)
    orders = np.array(list(permutations(ours)))
    taus = np.abs(kendall_tau(orders, published))
    return float(np.mean(taus >= abs(float(kendall_tau(ours, published))) - 1e-12))
