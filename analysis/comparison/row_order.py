"""Comparison of our order of rows with the paper's. Pure.

Orders are compared as Kendall does, pair of rows by pair of rows. With several seeds a pair counts only if our seeds
resolve it: if zero is outside the 95% interval of the two rows' difference, seed by seed. Each pair is tested alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from analysis.comparison.kendall import RankAgreement, rank_agreement
from analysis.comparison.verdicts import ComparedRow
from analysis.results.intervals import SeedValue
from analysis.results.significance import paired_difference

PairVerdict = Literal["agree", "disagree", "unresolved", "tied"]
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Order:
    """Agreement between our order of the rows and the paper's."""

    num_pairs: int
    """Pairs of rows that have both values and that the paper ranks; the sum of the next three."""
    num_agree: int
    num_disagree: int
    num_unresolved: int
    """Pairs whose means our seeds do not tell apart; with one seed, those with equal values."""
    num_alike: int
    """Pairs that our means rank as the paper does, resolved or not."""
    num_tied: int
    """Pairs that the paper prints as equal; they are not in num_pairs."""
    best_published: tuple[str, ...]
    """Labels of the rows that are best in the paper, ties included."""
    best_ours: tuple[str, ...]
    best_agrees: bool
    """True if our best rows are among the paper's best."""
    best_resolved: bool
    """True if our best is resolved from all rows that the paper ranks lower, or else from the paper's best."""


@dataclass(frozen=True)
class _Ranked:
    """A row with both values, less being better in both."""

    label: str
    ours: float
    values: tuple[SeedValue, ...]
    published: float


def compare_order(rows: Sequence[ComparedRow], better: Literal["lower", "higher"], *, one_seed: bool) -> Order | None:
    """Compare the rows' order by our means with the published one.

    Rows without both finite values are left out, and those whose values do not compare with the paper's.

    Args: rows: rows of one part and metric. better: direction of both metrics. one_seed: True if the sweep has one.
    Returns: None if fewer than two rows are left.
    """
    sign = 1.0 if better == "lower" else -1.0
    ranked = [
        _Ranked(row.label, sign * row.ours.mean, row.ours.values, sign * row.published.value)
        for row in rows
        if row.published is not None and row.ours.mean is not None and row.ranked
    ]
    if len(ranked) < 2:
        return None
    pairs = list(combinations(ranked, 2))
    verdicts = Counter(_verdict(first, second, one_seed=one_seed) for first, second in pairs)
    best_ours = [row for row in ranked if row.ours == min(other.ours for other in ranked)]
    best_published = [row for row in ranked if row.published == min(other.published for other in ranked)]
    agrees = all(row in best_published for row in best_ours)
    rivals = [row for row in ranked if row not in best_published] if agrees else best_published
    return Order(
        num_pairs=len(pairs) - verdicts["tied"],
        num_agree=verdicts["agree"],
        num_disagree=verdicts["disagree"],
        num_unresolved=verdicts["unresolved"],
        num_alike=sum((a.ours - b.ours) * (a.published - b.published) > 0 for a, b in pairs),
        num_tied=verdicts["tied"],
        best_published=tuple(row.label for row in best_published),
        best_ours=tuple(row.label for row in best_ours),
        best_agrees=agrees,
        best_resolved=all(_resolved(row, rival) for row in best_ours for rival in rivals),
    )


def _verdict(first: _Ranked, second: _Ranked, *, one_seed: bool) -> PairVerdict:
    if first.published == second.published:
        return "tied"
    if first.ours == second.ours or not (one_seed or _resolved(first, second)):
        return "unresolved"
    return "agree" if (first.ours < second.ours) == (first.published < second.published) else "disagree"


def _resolved(first: _Ranked, second: _Ranked) -> bool:
    """Return True if zero is outside the 95% interval of the rows' difference by seed, over two seeds or more."""
    difference = paired_difference(first.values, second.values)
    if difference is None or difference.uncertainty is None or difference.num_seeds < 2:
        return False
    return abs(difference.mean) > difference.uncertainty.half_width


def measure_agreement(rows: Sequence[ComparedRow]) -> RankAgreement | None:
    """Return Kendall's tau of the rows that have both values; the same numbers give the same interval."""
    ranked = [(row.ours.values, row.published.value) for row in rows if row.published is not None and row.ranked]
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    return rank_agreement([values for values, _ in ranked], [value for _, value in ranked], generator)
