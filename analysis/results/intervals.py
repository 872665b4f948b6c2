"""How far a mean over seeds may be off: the spread over seeds and the error of finite samples, combined.

Two things make a number another one: another seed trains another model, and other noise draws other samples of the same
model. All trainings of a sweep are sampled with the same noise, so that the second error is partly common to the seeds
and their spread hides that part. How large the part is nobody knows; the error of samples, which each record carries as
a standard error, is therefore added in full: a little too wide, not too narrow (counted in
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
"""What an uncertainty is of."""


@dataclass(frozen=True)
class SeedValue:
    """What one seed of a row scores."""

    seed: int
    value: float
    standard_error: float | None = None
    """Over samples; None if the record has no sound one."""


@dataclass(frozen=True)
class Uncertainty:
    """Standard errors of a mean over seeds, or of a difference of two."""

    of_seeds: float | None
    """By the spread over seeds; None if there is one seed."""
    degrees: int
    """Of freedom of that spread."""
    of_samples: float | None
    """By the error of finite samples; None if it is not known. One of both is known."""

    @property
    def basis(self) -> Basis:
        if self.of_seeds is None:
            return "samples"
        return "seeds" if self.of_samples is None else "seeds and samples"

    @property
    def half_width(self) -> float:
        """Half the width of the 95% interval."""
        return self.half_width_at(1 - CONFIDENCE)

    def half_width_at(self, outside: float) -> float:
        """Half the width of the interval that leaves out the share `outside`, in (0, 1)."""
        seeds = self.of_seeds * -float(stdtrit(self.degrees, outside / 2)) if self.of_seeds else 0.0
        samples = self.of_samples * -float(ndtri(outside / 2)) if self.of_samples else 0.0
        return math.hypot(seeds, samples)

    def p_value(self, estimate: float) -> float:
        """Two-sided: the share that the widest interval around an estimate without zero leaves out."""
        if not self.of_seeds and not self.of_samples:
            return 0.0 if estimate else 1.0
        if abs(estimate) >= self.half_width_at(_SMALLEST_P):
            return _SMALLEST_P
        return float(brentq(lambda outside: self.half_width_at(outside) - abs(estimate), _SMALLEST_P, 1.0))


_SMALLEST_P = 1e-12


def t_quantile(degrees: int) -> float:
    """Two-sided 95% quantile of Student's t."""
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95% t-interval of the mean of values, [N], by spread alone; None for fewer than two."""
    spread = variance(values)
    return None if spread is None else t_quantile(len(values) - 1) * math.sqrt(spread / len(values))


def variance(values: Sequence[float]) -> float | None:
    """Unbiased variance of values, [N]; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


def combined(spread: float | None, degrees: int, sampling: float | None) -> Uncertainty | None:
    """The sum of two errors, from their variances; None if neither is known.

    Args: spread: by the spread over seeds; None if there is one seed. degrees: of freedom of the spread.
        sampling: by the error of finite samples; None if it is not known.
    """
    seeds, samples = (None if found is None else math.sqrt(found) for found in (spread, sampling))
    return None if seeds is None and samples is None else Uncertainty(seeds, degrees, samples)


def uncertainty_of_mean(values: Sequence[SeedValue]) -> Uncertainty | None:
    """Of the mean over seeds; None if nothing tells it, or a value is not finite."""
    if not all(math.isfinite(value.value) for value in values):
        return None
    spread = variance([value.value for value in values])
    return combined(None if spread is None else spread / len(values), len(values) - 1, sampling_variance(values))


def sampling_variance(values: Sequence[SeedValue]) -> float | None:
    """Variance of a mean over seeds by finite samples, if their error is common to all; None if no record says it."""
    errors = [value.standard_error for value in values if value.standard_error is not None]
    return (math.fsum(errors) / len(errors)) ** 2 if errors else None
