"""Uncertainty of a mean over seeds: the spread over seeds and the error of finite samples, combined.

A repeated number differs for two reasons: another seed trains another model, and other noise draws other samples of the
same model. All trainings of a sweep are sampled with the same noise, so that the second error is partly common to the
seeds and their spread hides that part. The size of the part is unknown; the error of samples, which each record carries
as a standard error, is therefore added in full: a little too wide, not too narrow (counted in
tests/analysis/results/test_intervals.py).

The 95% interval of the sum has the root of the sum of both squared half-widths, Student's t for the spread, the normal
distribution for the samples (MOVER: Zou and Donner 2008). One quantile for the sum, of degrees of freedom by Welch and
Satterthwaite, covers only 93% with two seeds, and calls equal rows different in 13%. Assumed: independent seeds,
roughly normal values. No spread at all, and no error of samples, is no certainty: the uncertainty is then unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq
from scipy.special import stdtrit

from analysis.contract.metric_errors import MetricError
from analysis.results.studentized_range import range_quantile, range_survival

CONFIDENCE = 0.95
NORMAL = 1.959964
"""Two-sided 95% quantile of the normal distribution."""

Basis = Literal["seeds and samples", "seeds", "samples"]
"""Errors that an uncertainty covers."""


@dataclass(frozen=True)
class SeedValue:
    """The score of one seed of a row."""

    seed: int
    value: float
    standard_error: float | None = None
    """Standard error over samples; None if the record has no sound one."""
    error: MetricError | None = None
    """The same with the influences of the samples, where the record has them."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors of a mean over seeds, or of a difference of two; not both are 0 or unknown."""

    of_seeds: float | None
    """Standard error by the spread over seeds; None if there is one seed."""
    degrees: float
    """Degrees of freedom of that spread."""
    of_samples: float | None
    """Standard error by finite samples; None if it is unknown."""
    num_rows: int = 2
    """Rows whose pairs are all compared at once, so that quantiles are of the range of as many (Tukey); 2: one pair."""

    @property
    def basis(self) -> Basis:
        if self.of_seeds is None:
            return "samples"
        return "seeds" if self.of_samples is None else "seeds and samples"

    @property
    def half_width(self) -> float:
        """Return half the width of the 95% interval."""
        return self.half_width_at(1 - CONFIDENCE)

    def half_width_at(self, outside: float) -> float:
        """Return half the width of the interval that leaves out the share `outside`, in (0, 1)."""
        return self._half_width(range_quantile(outside, self.num_rows, self._degrees), outside)

    def p_value(self, estimate: float) -> float:
        """Return the two-sided p: the share left out by the widest interval around an estimate without zero."""
        size = abs(estimate)
        if size == 0:
            return 1.0
        if not self.of_seeds or not self.of_samples:
            q = size * math.sqrt(2) / (self.of_seeds or self.of_samples or math.inf)
            return range_survival(q, self.num_rows, self._degrees)

        def excess(log_q: float) -> float:
            q = math.exp(log_q)
            return self._half_width(q, range_survival(q, self.num_rows, self._degrees)) - size

        # Both errors have the same share outside, so that the quantile of one gives the other's.
        widest = math.log(size * math.sqrt(2) / self.of_seeds)
        lowest = widest - math.log(1e4)
        if excess(lowest) >= 0:
            return 1.0
        q = math.exp(brentq(excess, lowest, widest, rtol=1e-6)) if excess(widest) > 0 else math.exp(widest)
        return range_survival(q, self.num_rows, self._degrees)

    @property
    def _degrees(self) -> float:
        return self.degrees if self.of_seeds else math.inf

    def _half_width(self, q: float, outside: float) -> float:
        """Combine the errors, given the quantile of the spread's range and the share outside that it is of."""
        if not self.of_seeds:
            return (self.of_samples or 0.0) * q / math.sqrt(2)
        normal = range_quantile(outside, self.num_rows, math.inf) if self.of_samples else 0.0
        return math.hypot(self.of_seeds * q, (self.of_samples or 0.0) * normal) / math.sqrt(2)


def t_quantile(degrees: int) -> float:
    """Return the two-sided 95% quantile of Student's t."""
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def variance(values: Sequence[float]) -> float | None:
    """Return the unbiased variance of values, [N]; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def combine_errors(
    spread: float | None, degrees: float, sampling: float | None, num_rows: int = 2
) -> Uncertainty | None:
    """Combine two errors, given as variances; None if neither is known, or what is known is zero.

    Args: spread: variance over seeds; None if there is one seed. degrees: degrees of freedom of the spread.
        sampling: variance by finite samples; None if it is unknown. num_rows: see `Uncertainty`.
    """
    seeds, samples = (None if error is None else math.sqrt(error) for error in (spread, sampling))
    return Uncertainty(seeds, degrees, samples, num_rows) if seeds or samples else None
