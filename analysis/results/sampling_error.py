"""The error of finite samples of a mean over seeds, and of the difference of two. Pure.

All trainings of a sweep are sampled with the same noise, so that the error is partly common to seeds and to rows.
Records that hold the influence of each part of the samples show how much: on a difference, those of the same noise are
subtracted. Without them the error counts as common to the seeds of a row and as independent between
rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from scipy.special import ndtri

from analysis.contract.metric_errors import MetricError, combined_standard_error
from analysis.results.intervals import SeedValue, Uncertainty, combine_errors, variance

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


def sampling_variance(values: Sequence[SeedValue], *, is_log: bool = False) -> float | None:
    """Return the variance of a mean over seeds by finite samples, as if their error were common to all seeds.

    Args: is_log: the mean is one of logarithms of values, which are positive.
    Returns: None if no record has a standard error.
    """
    errors = [
        value.standard_error / (value.value if is_log else 1.0) for value in values if value.standard_error is not None
    ]
    return (math.fsum(errors) / len(errors)) ** 2 if errors else None


def paired_variance(first: Sequence[SeedValue], second: Sequence[SeedValue], *, is_log: bool = False) -> float | None:
    """Return the variance by finite samples of the difference between two rows' means over the same seeds.

    Args: first, second: values of the same seeds, in the same order. is_log: the means are of logarithms.
    Returns: None if neither row has an error; if one has, the other's counts as the same.
    """
    terms = [*_terms(second, 1.0, is_log=is_log), *_terms(first, -1.0, is_log=is_log)]
    if len(terms) == len(first) + len(second):
        return combined_standard_error(terms) ** 2
    known = [
        error for error in (sampling_variance(values, is_log=is_log) for values in (first, second)) if error is not None
    ]
    return 2 * math.fsum(known) / len(known) if known else None


def _terms(values: Sequence[SeedValue], sign: float, *, is_log: bool) -> Iterator[tuple[float, MetricError]]:
    """Yield weight and error of each value in the mean over seeds, of those whose error has influences."""
    for value in values:
        if value.error is not None and value.error.influences:
            yield sign / len(values) / (value.value if is_log else 1.0), value.error


def uncertainty_of_mean(values: Sequence[SeedValue]) -> Uncertainty | None:
    """Return the uncertainty of the mean over seeds; None if it is unknown, or a value is not finite."""
    if not all(math.isfinite(value.value) for value in values):
        return None
    spread = variance([value.value for value in values])
    return combine_errors(None if spread is None else spread / len(values), len(values) - 1, sampling_variance(values))
