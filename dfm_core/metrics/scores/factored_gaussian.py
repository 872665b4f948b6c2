"""Covariances as products F F^T, from which traces of roots are taken without a root of a matrix (numerics 10.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dfm_core.metrics.scores.moments import Array, GaussianLike


@dataclass(frozen=True)
class Factored:
    """Mean and covariance as the distance needs them."""

    mean: Array
    trace: float
    """Trace of the covariance."""
    factor: Array
    """F with F F^T = covariance, [D, rank]."""
    full_rank: bool

    @classmethod
    def of(cls, gaussian: GaussianLike) -> Factored:
        covariance = gaussian.covariance
        factor = cholesky_factor(covariance)
        full_rank = factor is not None
        return cls(
            gaussian.mean,
            float(np.trace(covariance)),
            eigen_factor(covariance) if factor is None else factor,
            full_rank,
        )


def cholesky_factor(covariance: Array) -> Array | None:
    """F, of which a permutation of rows is lower triangular, or None if a pivot is no more than rounding.

    The dimensions of largest variance come first, so that columns fall in size and F^T S F is graded: its small
    eigenvalues keep their digits, of which they lose half the other way round.
    """
    order = np.argsort(-np.diag(covariance))
    try:
        factor = np.linalg.cholesky(covariance[np.ix_(order, order)])
    except np.linalg.LinAlgError:
        return None
    smallest_pivot = np.diag(factor).min() ** 2
    if smallest_pivot <= rounding(len(order), np.diag(covariance).max()):
        return None
    rows: Array = np.empty_like(covariance)
    rows[order] = factor
    return rows


def eigen_factor(covariance: Array) -> Array:
    """V sqrt(lambda) over the eigenvalues above rounding, the largest first, [D, rank]; the others count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    kept = np.flatnonzero(values > rounding(len(values), values[-1]))[::-1]
    factor: Array = vectors[:, kept] * np.sqrt(values[kept])
    return factor


def rounding(width: int, largest: float) -> float:
    """Return the bound up to which a number beside the largest of `width` counts as 0."""
    return float(width * np.finfo(np.float64).eps * largest)
