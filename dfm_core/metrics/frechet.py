"""The Fréchet distance between two Gaussians (numerics 10)."""

from __future__ import annotations

import numpy as np

from dfm_core.metrics.moments import Array, Moments


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), in float64.

    The trace of the root is taken from the symmetric form: (S_a S_b)^(1/2) has the same eigenvalues as
    (R S_b R)^(1/2) with R = S_a^(1/2), whose argument is symmetric and positive semidefinite. That needs no square
    root of a non-symmetric matrix and stays finite for covariances of less than full rank.

    Returns: the distance, >= 0 up to rounding.
    """
    difference = a.mean - b.mean
    root = _symmetric_root(a.covariance)
    product = root @ b.covariance @ root
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    trace_of_root = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    traces = np.trace(a.covariance) + np.trace(b.covariance)
    return float(difference @ difference + traces - 2 * trace_of_root)


def _symmetric_root(matrix: Array) -> Array:
    """The positive semidefinite root of a symmetric matrix; negative eigenvalues are rounding and count as 0."""
    values, vectors = np.linalg.eigh(matrix)
    root: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root
