"""The 95% t-interval of a mean over seeds. It assumes independent, roughly normal values; with few seeds it is wide."""

from __future__ import annotations

import math
from collections.abc import Sequence

# Two-sided 95% quantiles of Student's t for 1, 2, ... 30 degrees of freedom.
_QUANTILES = (
    12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
    2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
    2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
)  # fmt: skip
_NORMAL_QUANTILE = 1.959964


def t_quantile(degrees: int) -> float:
    """Two-sided 95% quantile of Student's t, to 1e-4.

    Beyond the table: three terms of the Cornish-Fisher expansion (Abramowitz and Stegun, 26.7.5).
    """
    if degrees <= len(_QUANTILES):
        return _QUANTILES[degrees - 1]
    z = _NORMAL_QUANTILE
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / degrees + second / degrees**2 + third / degrees**3


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the 95% t-interval of the mean of values, [N]; None for fewer than two."""
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return t_quantile(len(values) - 1) * math.sqrt(variance / len(values))
