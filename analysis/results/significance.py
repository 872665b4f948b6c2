"""Differences between rows of a part, over the seeds that all of them have. Pure.

Seed k of each row shares the order of its data and all noise, so that the effect of a seed is common to the rows. After
the means of rows and of seeds are taken out, as in a two-way layout, one spread is pooled over all rows: with three
seeds a row's own says little. Pairs are compared by Tukey's range of as many means, since the best row was chosen on
the same numbers. Distances are compared by their logarithms, since they spread in proportion to their size. Where
Bartlett's test says that spreads differ even so, each pair is compared by its own spread, corrected over all pairs
(Bonferroni).

The choice was made by simulation (docs/analysis.md, benchmarks/significance.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import chdtrc

from analysis.contract.plan_schema import Scale
from analysis.results.best_row import CompleteBlock, largest_block
from analysis.results.intervals import CONFIDENCE, SeedValue, Uncertainty, combine_errors
from analysis.results.power import smallest_difference
from analysis.results.sampling_error import paired_variance

_UNEQUAL_BELOW = 0.1
"""Bartlett's p below which spreads count as unequal; at 0.1 three seeds lose 5% of the power, eight rows gain most."""
_ROUNDING = 1e-9
"""Spread, as a share of the values, that is rounding and counts as none."""

Array = np.ndarray
_LARGEST_LOG = 700.0
"""Logarithm of about the largest number that a float can be."""


def ratio_of(logarithm: float) -> float:
    """Return e to a power, held within what a float can be."""
    return math.exp(max(-_LARGEST_LOG, min(logarithm, _LARGEST_LOG)))


@dataclass(frozen=True)
class Difference:
    """A row minus a reference row, over the seeds that all rows have."""

    row: str
    mean: float
    """Mean difference in the metric's unit."""
    estimate: float
    """Difference on the scale of the test: of means, or of means of logarithms."""
    num_seeds: int
    is_log: bool
    uncertainty: Uncertainty | None
    """Uncertainty of the estimate; None if neither the spread over seeds nor the error of samples is known."""
    half_width: float | None
    """Half the width of the estimate's interval, at the level that it was made for."""
    num_tests: int = 0
    """Tests that the interval and p are corrected over; 0: an estimate that no claim is made by."""

    @property
    def is_beyond_noise(self) -> bool:
        """True if a claim may be made that the rows differ: by more than the errors that are known."""
        return self.num_tests > 0 and self.half_width is not None and abs(self.estimate) > self.half_width

    @property
    def adjusted_p(self) -> float:
        """p-value, corrected over all pairs of rows and all families of the report; 1 if there is nothing to test."""
        if self.uncertainty is None or not self.num_tests:
            return 1.0
        return min(1.0, self.num_tests * self.uncertainty.p_value(self.estimate))

    @property
    def interval(self) -> tuple[float, float] | None:
        """Return the ends of the interval: of the ratio to the reference row on a log scale, else of the difference."""
        if self.half_width is None:
            return None
        ends = self.estimate - self.half_width, self.estimate + self.half_width
        return (ratio_of(ends[0]), ratio_of(ends[1])) if self.is_log else ends

    def is_within(self, margin: float) -> bool:
        """Return True if the whole interval lies within ± margin, on the scale of the test."""
        return self.half_width is not None and abs(self.estimate) + self.half_width <= margin


@dataclass(frozen=True)
class RowTests:
    """Rows by one metric, ready to be compared pair by pair."""

    block: CompleteBlock
    seed_values: Mapping[str, tuple[SeedValue, ...]]
    """Values of each row at the seeds of the block, by seed."""
    is_log: bool
    num_families: int
    """Families of claims in the report, over which p-values and intervals are corrected; 0: an estimate without one."""

    @cached_property
    def values(self) -> Array:
        """Values on the scale of the test, [R, N]."""
        values = np.array([[value.value for value in self.seed_values[row]] for row in self.block.rows])
        return np.log(values) if self.is_log else values

    @property
    def num_seeds(self) -> int:
        return len(self.block.seeds)

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the pooled spread."""
        return (len(self.block.rows) - 1) * (self.num_seeds - 1)

    @cached_property
    def _residuals(self) -> Array:
        values = self.values
        return np.asarray(values - values.mean(1, keepdims=True) - values.mean(0, keepdims=True) + values.mean())

    @cached_property
    def spread(self) -> float | None:
        """Pooled variance over seeds on the scale of the test; None if there is one seed."""
        if self.num_seeds < 2:
            return None
        pooled = float((self._residuals**2).sum()) / self.degrees
        return pooled if math.sqrt(pooled) > _ROUNDING * max(1e-300, float(np.abs(self.values).max())) else 0.0

    @cached_property
    def total_spread(self) -> tuple[float, float] | None:
        """Pooled variance over seeds with their common effect, and its degrees of freedom (Satterthwaite 1946).

        None with one seed, or without any spread.
        """
        if self.num_seeds < 2 or not self.spread:
            return None
        num_rows, degrees = len(self.block.rows), self.num_seeds - 1
        parts = float(self.values.mean(0).var(ddof=1)), (num_rows - 1) * self.spread / num_rows
        total = sum(parts)
        return total, total**2 / (parts[0] ** 2 / degrees + parts[1] ** 2 / self.degrees)

    @cached_property
    def is_unequal(self) -> bool:
        """True if rows spread so differently that a common spread would mislead (Bartlett 1937)."""
        num_rows, degrees = len(self.block.rows), self.num_seeds - 1
        if num_rows < 3 or degrees < 1 or not self.spread:
            return False
        variances = (self._residuals**2).sum(1) / degrees
        if variances.min() <= 0:
            return True
        statistic = degrees * (num_rows * math.log(variances.mean()) - float(np.log(variances).sum()))
        correction = 1 + (num_rows + 1) / (3 * num_rows * degrees)
        return float(chdtrc(num_rows - 1, statistic / correction)) < _UNEQUAL_BELOW

    def difference(self, reference: str, row: str) -> Difference:
        """Return row minus reference; both are of the block."""
        first, second = (self.values[self.block.rows.index(label)] for label in (reference, row))
        uncertainty = self._uncertainty(reference, row, second - first)
        estimate = float(second.mean() - first.mean())
        mean = math.fsum(
            b.value - a.value for a, b in zip(self.seed_values[reference], self.seed_values[row], strict=True)
        )
        return Difference(
            row,
            mean / self.num_seeds,
            estimate,
            self.num_seeds,
            self.is_log,
            uncertainty,
            None if uncertainty is None else uncertainty.half_width_at(self._outside),
            self._num_tests,
        )

    @property
    def smallest_difference(self) -> float | None:
        """Difference on the scale of the test that is found in 80% of such sweeps; None without a spread over seeds."""
        if not self.spread:
            return None
        families, spread = max(1, self.num_families), math.sqrt(self.spread)
        return smallest_difference(len(self.block.rows), self.num_seeds, spread, families, self.sampling_error)

    @property
    def sampling_error(self) -> float:
        """Standard error of a difference by finite samples, on the scale of the test; the mean over pairs with one."""
        first, *others = self.block.rows
        errors = (self._uncertainty(first, row, self.values[0]) for row in others)
        samples = [error.of_samples or 0.0 for error in errors if error is not None]
        return math.fsum(samples) / max(1, len(samples))

    def _uncertainty(self, reference: str, row: str, differences: Array) -> Uncertainty | None:
        spread = None if self.spread is None else 2 * self.spread / self.num_seeds
        degrees = self.degrees
        if self.is_unequal:
            spread, degrees = float(differences.var(ddof=1)) / self.num_seeds, self.num_seeds - 1
        samples = paired_variance(self.seed_values[reference], self.seed_values[row], is_log=self.is_log)
        num_rows = len(self.block.rows) if self.num_families and not self.is_unequal else 2
        return combine_errors(spread, degrees, samples, num_rows)

    @property
    def _num_tests(self) -> int:
        """Tests that each p-value is multiplied by: families, and where pairs are tested alone, pairs."""
        num_rows = len(self.block.rows)
        return self.num_families * (num_rows * (num_rows - 1) // 2 if self.is_unequal else 1)

    @property
    def _outside(self) -> float:
        return (1 - CONFIDENCE) / max(1, self._num_tests)


def compare_rows(rows: Mapping[str, Sequence[SeedValue]], scale: Scale, num_families: int) -> RowTests | None:
    """Prepare the comparison of rows by one metric.

    Args: rows: finite values by label, in the table's order. scale: of the metric; logarithms are taken of positive
        values only. num_families: families of claims in the report; 0 for a metric that no claim is made by.
    Returns: None if no two rows have a seed in common.
    """
    block = largest_block(rows)
    if block is None:
        return None
    by_seed = {label: {value.seed: value for value in rows[label]} for label in block.rows}
    chosen = {label: tuple(by_seed[label][seed] for seed in block.seeds) for label in block.rows}
    is_log = scale == "log" and all(value.value > 0 for values in chosen.values() for value in values)
    return RowTests(block, chosen, is_log, num_families)
