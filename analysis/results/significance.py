"""Which rows are not separable from the best one. Pure.

Rows are compared by seed: seed k of one row with seed k of the other, which share the order of their data and all
noise, so that what those do to both cancels in the difference. Which row is best was read off the same numbers, and the
best of many is lucky. Holm's correction over all pairs of rows, of which those with the best are looked at, keeps the
chance that any row is wrongly called separable at 5%, however many rows there are. Over the comparisons with the best
alone it would be nearly 10% for six equal rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.results.intervals import CONFIDENCE, SeedValue, Uncertainty, combined, sampling_variance, variance


@dataclass(frozen=True)
class Difference:
    """A row less the best one, over the seeds that both have."""

    row: str
    mean: float
    num_seeds: int
    uncertainty: Uncertainty | None
    """None if nothing tells it: one common seed, and no error of samples."""
    adjusted_p: float = 1.0
    """Holm-adjusted; 1 if there is no uncertainty to test with."""

    @property
    def separable(self) -> bool:
        return self.adjusted_p <= 1 - CONFIDENCE


@dataclass(frozen=True)
class Separation:
    """How far the best row of a part is apart from the others, by one metric."""

    best: str
    differences: tuple[Difference, ...]
    """Of all other rows with a finite mean, in the table's order."""

    @property
    def one_seed(self) -> bool:
        """Whether a comparison rests on a single seed, so that only the error of samples is in it."""
        return any(found.num_seeds < 2 for found in self.differences)

    @property
    def not_separable(self) -> tuple[str, ...]:
        """Labels of the rows that may be as good as the best."""
        return tuple(found.row for found in self.differences if not found.separable)


def separation_of(best: str, rows: Mapping[str, Sequence[SeedValue]]) -> Separation:
    """The best row against all others.

    Args: best: its label. rows: finite values by label; rows without a value, or without a seed in common with the best
        row, are not compared.
    """
    pairs = ((label, difference(rows[best], values)) for label, values in rows.items() if label != best)
    found = [replace(pair, row=label) for label, pair in pairs if pair is not None]
    raw = [1.0 if pair.uncertainty is None else pair.uncertainty.p_value(pair.mean) for pair in found]
    num_pairs = len(found) * (len(found) + 1) // 2
    adjusted = (replace(pair, adjusted_p=p) for pair, p in zip(found, holm(raw, num_pairs), strict=True))
    return Separation(best, tuple(adjusted))


def difference(first: Sequence[SeedValue], second: Sequence[SeedValue]) -> Difference | None:
    """Second less first, seed by seed; None if they have no seed in common."""
    by_seed = {value.seed: value for value in first}
    pairs = [(by_seed[value.seed], value) for value in second if value.seed in by_seed]
    if not pairs:
        return None
    differences = [other.value - one.value for one, other in pairs]
    spread = variance(differences)
    errors = [sampling_variance([pair[side] for pair in pairs]) for side in (0, 1)]
    # As if their samples were independent: noise in common makes the error of a difference smaller, never larger.
    known = [error for error in errors if error is not None]
    sampling = math.fsum(known) if len(known) == len(errors) else None
    of_mean = None if spread is None else spread / len(pairs)
    return Difference("", math.fsum(differences) / len(pairs), len(pairs), combined(of_mean, len(pairs) - 1, sampling))


def holm(p_values: Sequence[float], num_tests: int) -> list[float]:
    """Adjusted p-values, [N], as ordered (Holm 1979): the k-th smallest times num_tests - k + 1, never falling.

    Args: num_tests: of the whole family, at least N. That the others are not given can only make these larger.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (num_tests - rank)))
        adjusted[index] = largest
    return adjusted
