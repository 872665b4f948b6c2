"""The distribution of the studentized range: of the largest difference among K equal means, over its standard error.

`scipy.stats.studentized_range` is the same to 1e-9 (tests hold it), but takes 50 to 100 ms for a quantile and half a
second to import; a report needs hundreds of them, and a dry run must stay light.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr, ndtri, stdtr, stdtrit

SMALLEST_P = 1e-10
"""Smallest p-value: the quadrature is no finer, and no experiment is as sure."""
_Z = np.linspace(-8.0, 8.0, 129)
_NUM_SCALES = 201
_NORMAL_DEGREES = 1e6
"""Degrees of freedom beyond which the spread counts as known."""
_INFINITE = 1e300
_LARGEST_P = 1 - 1e-9


def range_survival(q: float, num_rows: int, degrees: float) -> float:
    """Return P(Q > q) (Tukey 1949), at least 1e-10.

    Args: q: largest difference of means over the standard error of one mean, at least 0. num_rows: means, 2 or more.
        degrees: degrees of freedom of the standard error, above 0; inf if it is known.
    """
    if num_rows == 2:  # the difference of two means is Student's t times the root of 2
        return _clamped(2 * float(stdtr(min(degrees, _INFINITE), -q / math.sqrt(2))))
    if degrees > _NORMAL_DEGREES:
        return _clamped(float(_exceeded(np.array([q]), num_rows)[0]))
    # Trapezoids over the logarithm of the estimated deviation, whose density is smooth and falls off fast on both
    # sides.
    half = degrees / 2
    low, high = (0.5 * math.log(float(end(half, 1e-15)) / half) for end in (gammaincinv, gammainccinv))
    logs = np.linspace(low, high, _NUM_SCALES)
    log_density = math.log(2) + half * math.log(half) - gammaln(half) + degrees * logs - half * np.exp(2 * logs)
    density = np.exp(log_density)
    return _clamped(float((_exceeded(q * np.exp(logs), num_rows) * density).sum() / density.sum()))


def _exceeded(widths: np.ndarray, num_rows: int) -> np.ndarray:
    """Return the probability that the range of standard normal draws exceeds each width, [W]."""
    inside = ndtr(_Z) - ndtr(_Z - widths[:, None])
    density = np.exp(-0.5 * _Z**2)
    # P(range < w): the largest draw lies at z and all others within w below it.
    return np.asarray(1.0 - num_rows * (inside ** (num_rows - 1) @ density) / math.sqrt(2 * math.pi) * (_Z[1] - _Z[0]))


def _clamped(p: float) -> float:
    return min(1.0, max(SMALLEST_P, p))


@lru_cache(maxsize=4096)
def range_quantile(outside: float, num_rows: int, degrees: float) -> float:
    """Return the q that the range exceeds with probability `outside`, at least 2e-10; see `range_survival`."""
    outside = max(outside, 2 * SMALLEST_P)
    if outside > _LARGEST_P:
        return 0.0
    if num_rows == 2:
        normal = degrees > _NORMAL_DEGREES
        return -math.sqrt(2) * float(ndtri(outside / 2) if normal else stdtrit(degrees, outside / 2))

    def excess(log_q: float) -> float:
        return math.log(range_survival(math.exp(log_q), num_rows, degrees)) - math.log(outside)

    return math.exp(brentq(excess, math.log(1e-9), math.log(1e12), xtol=1e-10))
