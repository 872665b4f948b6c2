"""Significance of the differences between the best row and the others. Pure.

Rows are compared by seed: seed k of one row with seed k of the other, which share the order of their data and all
noise, so that their common effect cancels in the difference. The best row was chosen on the same numbers, and the best
of many is lucky. Holm's correction over all pairs of rows, although only those with the best are looked at, keeps the
chance that any row is wrongly called separable at 5%, however many rows there are. With a correction over the
comparisons with the best alone it would be nearly 10% for six equal rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.results.intervals import CONFIDENCE, SeedValue, Uncertainty, combine_errors, sampling_variance, variance


@dataclass(frozen=True)
class Difference:
    """A row minus the best one, over the seeds that both have."""

    row: str
    mean: float
    num_seeds: int
    uncertainty: Uncertainty | None
    """Uncertainty of the mean; None with one common seed and no error of samples."""
    adjusted_p: float = 1.0
    """Holm-adjusted p-value; 1 if there is no uncertainty to test with."""

    @property
    def separable(self) -> bool:
        return self.adjusted_p <= 1 - CONFIDENCE


@dataclass(frozen=True)
class Separation:
    """The best row of a part and its differences from the others, by one metric."""

    best: str
    differences: tuple[Difference, ...]
    """Differences of all other rows with a finite mean, in the table's order."""

    @property
    def one_seed(self) -> bool:
        """True if a comparison rests on a single seed, so that only the error of samples is in it."""
        return any(difference.num_seeds < 2 for difference in self.differences)

    @property
    def not_separable(self) -> tuple[str, ...]:
        """Return the labels of the rows that may be as good as the best."""
        return tuple(difference.row for difference in self.differences if not difference.separable)


def separate_from_best(best: str, rows: Mapping[str, Sequence[SeedValue]]) -> Separation:
    """Compare the best row with all others.

    Args: best: label of the best row. rows: finite values by label; rows without a value, or without a seed in common
        with the best row, are not compared.
    """
    pairs = ((label, paired_difference(rows[best], values)) for label, values in rows.items() if label != best)
    differences = [replace(pair, row=label) for label, pair in pairs if pair is not None]
    raw = [1.0 if pair.uncertainty is None else pair.uncertainty.p_value(pair.mean) for pair in differences]
    num_pairs = len(differences) * (len(differences) + 1) // 2
    adjusted = (replace(pair, adjusted_p=p) for pair, p in zip(differences, holm(raw, num_pairs), strict=True))
    return Separation(best, tuple(adjusted))


def paired_difference(first: Sequence[SeedValue], second: Sequence[SeedValue]) -> Difference | None:
    """Return second minus first, seed by seed; None if they have no seed in common."""
    by_seed = {value.seed: value for value in first}
    pairs = [(by_seed[value.seed], value) for value in second if value.seed in by_seed]
    if not pairs:
        return None
    differences = [other.value - one.value for one, other in pairs]
    spread = variance(differences)
    errors = [sampling_variance([pair[side] for pair in pairs]) for side in (0, 1)]
    # Samples are taken as independent: noise in common makes the error of a difference smaller, never larger.
    known = [error for error in errors if error is not None]
    sampling = math.fsum(known) if len(known) == len(errors) else None
    of_mean = None if spread is None else spread / len(pairs)
    return Difference(
        "", math.fsum(differences) / len(pairs), len(pairs), combine_errors(of_mean, len(pairs) - 1, sampling)
    )


def holm(p_values: Sequence[float], num_tests: int) -> list[float]:
    """Adjust p-values, [N], by Holm (1979): the k-th smallest times num_tests - k + 1, never falling; order is kept.

    Args: num_tests: tests of the whole family, at least N. Leaving the others out can only make these p-values larger.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, p_values[index] * (num_tests - rank)))
        adjusted[index] = largest
    return adjusted
