"""Comparison of our order of rows with the paper's. Pure.

Orders are compared as Kendall does, pair of rows by pair of rows. A pair is resolved if its rows are told apart by the
tests that the table's claims rest on, which are corrected over all pairs; so none is by one seed, or by a metric that
no claim is made by.
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
from analysis.results.standings import Standing

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
    """Pairs that our tests do not tell apart."""
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
    makes_claims: bool = True
    """False: by means alone, with one seed or by an exploratory metric."""


@dataclass(frozen=True)
class _Ranked:
    """A row with both values, less being better in both."""

    label: str
    ours: float
    published: float


def compare_order(rows: Sequence[ComparedRow], standing: Standing) -> Order | None:
    """Compare the rows' order by our means with the published one.

    Rows without both finite values are left out, and those whose values do not compare with the paper's.

    Args: rows: rows of one part and metric. standing: of our rows by the metric.
    Returns: None if fewer than two rows are left.
    """
    sign = 1.0 if standing.metric.better == "lower" else -1.0
    ranked = [
        _Ranked(row.label, sign * row.ours.mean, sign * row.published.value)
        for row in rows
        if row.published is not None and row.ours.mean is not None and row.ranked
    ]
    if len(ranked) < 2:
        return None
    pairs = list(combinations(ranked, 2))
    verdicts = Counter(_verdict(standing, sign, first, second) for first, second in pairs)
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
        best_resolved=all(_resolved(standing, sign, row, rival) < 0 for row in best_ours for rival in rivals),
        makes_claims=standing.makes_claims and standing.tests is not None and standing.tests.num_seeds > 1,
    )


def _verdict(standing: Standing, sign: float, first: _Ranked, second: _Ranked) -> PairVerdict:
    if first.published == second.published:
        return "tied"
    resolved = _resolved(standing, sign, first, second)
    if not resolved:
        return "unresolved"
    return "agree" if (resolved < 0) == (first.published < second.published) else "disagree"


def _resolved(standing: Standing, sign: float, first: _Ranked, second: _Ranked) -> float:
    """Return the sign of first - second, less being better; 0 if the tests do not tell the rows apart."""
    tests = standing.tests
    if tests is None or not {first.label, second.label} <= set(tests.block.rows):
        return 0.0
    difference = tests.difference(second.label, first.label)
    is_told_apart = standing.makes_claims and difference.num_seeds > 1 and difference.is_beyond_noise
    return sign * float(np.sign(difference.estimate)) if is_told_apart else 0.0


def measure_agreement(rows: Sequence[ComparedRow]) -> RankAgreement | None:
    """Return Kendall's tau of the rows that have both values; the same numbers give the same interval."""
    ranked = [(row.ours.values, row.published.value) for row in rows if row.published is not None and row.ranked]
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    return rank_agreement([values for values, _ in ranked], [value for _, value in ranked], generator)
