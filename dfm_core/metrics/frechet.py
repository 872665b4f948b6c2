"""The Fréchet distance between two Gaussians (numerics 10.1).

FID, FDD, frame-FID and FVD are this distance on features of different networks: frame-FID takes the frames of all
videos as images, FVD one feature vector of a video network per clip.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfm_core.metrics.accumulator import Score
from dfm_core.metrics.moments import Array, Moments


@dataclass(frozen=True)
class _Gaussian:
    """Mean and covariance as the distance reads them."""

    mean: Array
    trace: float
    """Of the covariance."""
    factor: Array
    """F with F F^T = covariance, [D, rank]."""
    full_rank: bool

    @classmethod
    def of(cls, moments: Moments) -> _Gaussian:
        covariance = moments.covariance
        factor = _cholesky(covariance)
        full_rank = factor is not None
        return cls(
            moments.mean,
            float(np.trace(covariance)),
            _eigen_factor(covariance) if factor is None else factor,
            full_rank,
        )


def frechet_distance(a: Moments, b: Moments) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), in float64; >= 0 up to rounding. See `frechet`."""
    return _distance(_Gaussian.of(a), _Gaussian.of(b))


def frechet(samples: Moments, reference: Moments) -> Score:
    """The Fréchet distance, and what its covariances leave to be desired.

    With S = F F^T for both covariances, the trace of (S_a S_b)^(1/2) is the sum of the singular values of F_a^T F_b,
    since F_a^T S_b F_a is symmetric and has the eigenvalues of S_a S_b. No root of a non-symmetric matrix is taken.
    F is the Cholesky factor; for a covariance that is singular to working precision it is V sqrt(lambda) over the
    eigenvalues above rounding.
    """
    a, b = _Gaussian.of(samples), _Gaussian.of(reference)
    return Score(_distance(a, b), (*_notes("samples", samples, a), *_notes("reference", reference, b)))


def weighted_frechet_distances(features: Tensor, reference: Moments, counts: Tensor) -> Tensor:
    """The distance for every column of counts, for `bootstrap.standard_errors`.

    Args: features: [N, D]. counts: how often each row is there, [N, R].
    Returns: [R] float64, on the CPU. Costs R covariances and eigenvalue problems.
    """
    gaussian = _Gaussian.of(reference)
    replicates = (_Gaussian.of(Moments.weighted(features, column)) for column in counts.T)
    return torch.tensor([_distance(replicate, gaussian) for replicate in replicates], dtype=torch.float64)


def _distance(a: _Gaussian, b: _Gaussian) -> float:
    difference = a.mean - b.mean
    return float(difference @ difference + a.trace + b.trace - 2 * _nuclear_norm(a.factor.T @ b.factor))


def _nuclear_norm(matrix: Array) -> float:
    """Sum of the singular values, from the eigenvalues of the smaller of the two symmetric products."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    eigenvalues = np.linalg.eigvalsh(wide @ wide.T)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _cholesky(covariance: Array) -> Array | None:
    """The lower factor, or None if a pivot is no more than rounding."""
    try:
        factor = np.linalg.cholesky(covariance).astype(np.float64, copy=False)
    except np.linalg.LinAlgError:
        return None
    smallest_pivot: float = np.diag(factor).min() ** 2
    return factor if smallest_pivot > _rounding(covariance.shape[0], np.diag(covariance).max()) else None


def _eigen_factor(covariance: Array) -> Array:
    """V sqrt(lambda) over the eigenvalues above rounding, [D, rank]; the others count as 0."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > _rounding(len(values), values[-1])
    factor: Array = vectors[:, kept] * np.sqrt(values[kept])
    return factor


def _rounding(width: int, largest: float) -> float:
    return float(width * np.finfo(np.float64).eps * largest)


def _notes(whose: str, moments: Moments, gaussian: _Gaussian) -> list[str]:
    count, width, rank = moments.count, moments.width, gaussian.factor.shape[1]
    if count <= width:
        rank_and_bias = f"the covariance has rank {count - 1} at most and the distance is biased upwards"
        advice = "the bias falls as samples are added: compare equal numbers of samples only"
        return [f"{whose}: {count} for {width} dimensions, so {rank_and_bias}; {advice}"]
    if not gaussian.full_rank:
        singular = f"the covariance of {count} is singular to working precision (rank {rank} of {width})"
        return [f"{whose}: {singular}; directions without variance count as exactly 0"]
    return []
