"""The error of a share of samples, such as an accuracy: known even where all samples are alike. Pure."""

from __future__ import annotations

import math

from scipy.special import ndtri

_Z = -float(ndtri(0.025))


def share_error(share: float, recorded: float | None, num_samples: int | None) -> float | None:
    """Return the standard error of a share, at least that of Wilson's interval (1927) for a share of 0 or 1.

    Near 0 and 1 the error by the share itself, sqrt(p (1 - p) / N), is too small or zero: of 300 samples that are all
    right, 1.3% of others may be wrong.

    Args: share: in [0, 1]. recorded: the record's error, None without one. num_samples: N; None if it is not known.
    """
    if num_samples is None or num_samples < 1 or not 0 <= share <= 1:
        return recorded
    smallest = _Z / (num_samples + _Z**2)
    return max(smallest, recorded or math.sqrt(share * (1 - share) / num_samples))
