"""The error of finite samples of a mean over seeds, and of the difference of two. Pure.

All trainings of a sweep are sampled with the same noise, so that the error is partly common to seeds and to rows.
Records that hold values without each of G groups of samples show how much: the jackknife of the difference leaves out
the same noise in both rows. Without them the error counts as common to the seeds of a row and as independent between
rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from analysis.results.intervals import SeedValue, Uncertainty, combine_errors, variance

Array = np.ndarray


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
    replicates = [_mean_replicates(values, is_log=is_log) for values in (first, second)]
    if replicates[0] is not None and replicates[1] is not None and len(replicates[0]) == len(replicates[1]):
        return paired_jackknife_variance(replicates[0], replicates[1])
    known = [
        error for error in (sampling_variance(values, is_log=is_log) for values in (first, second)) if error is not None
    ]
    return 2 * math.fsum(known) / len(known) if known else None


def paired_jackknife_variance(first: Array, second: Array) -> float:
    """Return the variance of second - first by the delete-a-group jackknife (Kott 2001).

    Args: first, second: each row's value without group g of the samples, [G]; the same groups in both.
    """
    differences = np.asarray(second, float) - np.asarray(first, float)
    return float((len(differences) - 1) * differences.var())


def _mean_replicates(values: Sequence[SeedValue], *, is_log: bool) -> Array | None:
    """Return the replicates of the mean over seeds, [G]; None if some seed has none, or not as many."""
    counts = {len(value.replicates) for value in values}
    if len(counts) != 1 or counts.pop() < 2:
        return None
    replicates = np.array([value.replicates for value in values], float)
    if is_log and (replicates <= 0).any():
        return None
    return np.asarray((np.log(replicates) if is_log else replicates).mean(0))


def uncertainty_of_mean(values: Sequence[SeedValue]) -> Uncertainty | None:
    """Return the uncertainty of the mean over seeds; None if it is unknown, or a value is not finite."""
    if not all(math.isfinite(value.value) for value in values):
        return None
    spread = variance([value.value for value in values])
    return combine_errors(None if spread is None else spread / len(values), len(values) - 1, sampling_variance(values))
