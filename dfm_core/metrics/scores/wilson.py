"""Errors of shares that are never 0 (Wilson 1927), also where labels come in turn."""

from __future__ import annotations

import math
from dataclasses import dataclass

_Z = 1.959963984540054
"""97.5% quantile of the normal distribution."""


@dataclass(frozen=True)
class ShareError:
    """Standard error of a share in two parts, and its 95% interval."""

    shrinkage: float
    """Factor on the root of the share's own variance, below 1."""
    apart: float
    """Part that stays where the share's own variance is 0; the whole is the root of the sum of squares."""
    interval: tuple[float, float]


def share_error(share: float, variance: float, num_samples: int) -> ShareError:
    """Return Wilson's interval and, as standard error, its half-width over 1.96.

    Args: share: in [0, 1]. variance: of the share: share (1 - share) / N of independent samples, which gives Wilson's
        interval itself; less where labels come in turn. num_samples: N.
    """
    squared = _Z**2 / num_samples
    shrinkage = 1 / (1 + squared)
    apart = shrinkage * _Z / (2 * num_samples)
    half = _Z * math.hypot(shrinkage * math.sqrt(variance), apart)
    centre = shrinkage * (share + squared / 2)
    return ShareError(shrinkage, apart, (max(0.0, centre - half), min(1.0, centre + half)))
