"""Uncertainty of a mean over seeds: the spread over seeds and the error of finite samples, combined.

A repeated number differs for two reasons: another seed trains another model, and other noise draws other samples of the
same model. All trainings of a sweep are sampled with the same noise, so that the second error is partly common to the
seeds and their spread hides that part. The size of the part is unknown; the error of samples, which each record carries
as a standard error, is therefore added in full: a little too wide, not too narrow (counted in
tests/analysis/results/test_intervals.py).

The 95% interval of the sum has the root of the sum of both squared half-widths, Student's t for the spread, the normal
distribution for the samples (MOVER: Zou and Donner 2008). One quantile for the sum, of degrees of freedom by Welch and
Satterthwaite, covers only 93% with two seeds. Assumed: independent seeds, roughly normal values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

CONFIDENCE = 0.95

Basis = Literal["seeds and samples", "seeds", "samples"]
"""Errors that an uncertainty covers."""


@dataclass(frozen=True)
class SeedValue:
    """The score of one seed of a row."""

    seed: int
    value: float
    standard_error: float | None = None
    """Standard error over samples; None if the record has no sound one."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors of a mean over seeds, or of a difference of two."""

    of_seeds: float | None
    """Standard error by the spread over seeds; None if there is one seed."""
    degrees: int
    """Degrees of freedom of that spread."""
    of_samples: float | None
    """Standard error by finite samples; None if it is unknown. One of both is known."""

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
        seeds = self.of_seeds * -float(stdtrit(self.degrees, outside / 2)) if self.of_seeds else 0.0
        samples = self.of_samples * -float(ndtri(outside / 2)) if self.of_samples else 0.0
        return math.hypot(seeds, samples)

    def p_value(self, estimate: float) -> float:
        """Return the two-sided p: the share left out by the widest interval around an estimate without zero."""
        if not self.of_seeds and not self.of_samples:
            return 0.0 if estimate else 1.0
        if abs(estimate) >= self.half_width_at(_SMALLEST_P):
            return _SMALLEST_P
        return float(brentq(lambda outside: self.half_width_at(outside) - abs(estimate), _SMALLEST_P, 1.0))


_SMALLEST_P = 1e-12


def t_quantile(degrees: int) -> float:
    """Return the two-sided 95% quantile of Student's t."""
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def variance(values: Sequence[float]) -> float | None:
    """Return the unbiased variance of values, [N]; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def combine_errors(spread: float | None, degrees: int, sampling: float | None) -> Uncertainty | None:
    """Combine two errors, given as variances; None if neither is known.

    Args: spread: variance over seeds; None if there is one seed. degrees: degrees of freedom of the spread.
        sampling: variance by finite samples; None if it is unknown.
    """
    seeds, samples = (None if error is None else math.sqrt(error) for error in (spread, sampling))
    return None if seeds is None and samples is None else Uncertainty(seeds, degrees, samples)


def uncertainty_of_mean(values: Sequence[SeedValue]) -> Uncertainty | None:
    """Return the uncertainty of the mean over seeds; None if it is unknown, or a value is not finite."""
    if not all(math.isfinite(value.value) for value in values):
        return None
    spread = variance([value.value for value in values])
    return combine_errors(None if spread is None else spread / len(values), len(values) - 1, sampling_variance(values))


def sampling_variance(values: Sequence[SeedValue]) -> float | None:
    """Return the variance of a mean over seeds by finite samples, as if their error were common to all seeds.

    Returns: None if no record has a standard error.
    """
    errors = [value.standard_error for value in values if value.standard_error is not None]
    return (math.fsum(errors) / len(errors)) ** 2 if errors else None
