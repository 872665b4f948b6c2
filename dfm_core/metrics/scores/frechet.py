"""The Fréchet distance between two Gaussians (numerics 10.1).

FID, FDD, frame-FID and FVD are this distance on features of different networks: frame-FID takes the frames of all
videos as images, FVD one feature vector of a video network per clip.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dfm_core.metrics.scores.accumulator import Score, require_finite
from dfm_core.metrics.scores.factored_gaussian import Factored, cholesky_factor, rounding
from dfm_core.metrics.scores.moments import Array, GaussianLike, Moments

_CHUNK_ROWS = 4096
"""Rows of features that are converted to float64 at once."""
_BLOCK_COLUMNS = 512
"""Columns of a covariance that are computed at once, from the diagonal downwards."""


def frechet_distance(a: GaussianLike, b: GaussianLike) -> float:
    """|mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)), in float64; >= 0 up to rounding. See `frechet`."""
    return _distance(Factored.of(a), Factored.of(b))


def frechet(samples: GaussianLike, reference: GaussianLike) -> Score:
    """Return the Fréchet distance, and notes on its covariances.

    With S = F F^T for both covariances, the trace of (S_a S_b)^(1/2) is the sum of the singular values of F_a^T F_b,
    since F_a^T S_b F_a is symmetric and has the eigenvalues of S_a S_b. No root of a non-symmetric matrix is taken.
    F is the Cholesky factor; for a covariance that is singular to working precision it is V sqrt(lambda) over the
    eigenvalues above rounding.
    """
    a, b = Factored.of(samples), Factored.of(reference)
    return Score(_distance(a, b), (*_notes("samples", samples, a), *_notes("reference", reference, b)))


def weighted_frechet_distances(features: Tensor, reference: GaussianLike, counts: Tensor) -> Tensor:
    """Return the distance for every column of counts, for `errors`.

    Only the reference is factored: tr (S_a S_b)^(1/2) is the sum of the roots of the eigenvalues of F_b^T S_a F_b, the
    covariance of the rows (x_i - centre) F_b, which are projected once. A column costs one eigenvalue problem, of side
    min(rows that are there, rank of S_b).

    Args: features: [N, D]. counts: how often each row is there, whole numbers, [N, R].
    Returns: [R] float64, on the CPU; computed on the features' device, with one [N, rank] float64 beside them.
    Raises: ValueError if features are not finite, or if a column has fewer than two samples.
    """
    require_finite("features", features, torch.arange(len(features)))
    weights = counts.to(features.device, torch.float64)
    sizes = weights.sum(dim=0)
    if int(sizes.min()) < 2:
        raise ValueError(f"a covariance needs two samples, got {int(sizes.min())}")
    b = Factored.of(reference)
    factor, mean = (torch.from_numpy(array).to(weights) for array in (b.factor, b.mean))
    # Any centre near the samples will do: it keeps digits.
    centre = features[:_CHUNK_ROWS].double().mean(dim=0)
    projected, offsets, traces = _project(features, centre, factor, weights)
    roots = _root_traces(projected, factor.T @ offsets, weights, _is_singular(features, weights, b))
    shifts = ((offsets + (centre - mean)[:, None]) ** 2).sum(dim=0)
    return (shifts + traces + b.trace - 2 * roots).cpu()


def _project(features: Tensor, centre: Tensor, factor: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute everything that needs a pass over the features, for all replicates at once.

    Returns: (x_i - centre) F, [N, rank]; each replicate's mean minus centre, [D, R]; trace of its covariance, [R].
    """
    sizes = weights.sum(dim=0)
    projected = weights.new_empty(len(features), factor.shape[1])
    offsets, squares = weights.new_zeros(len(centre), len(sizes)), torch.zeros_like(sizes)
    for begin in range(0, len(features), _CHUNK_ROWS):
        rows = slice(begin, begin + _CHUNK_ROWS)
        x = features[rows].double() - centre
        projected[rows] = x @ factor
        offsets += x.T @ weights[rows]
        squares += (x * x).sum(dim=1) @ weights[rows]
    offsets /= sizes
    return projected, offsets, (squares - sizes * (offsets**2).sum(dim=0)) / (sizes - 1)


def _root_traces(projected: Tensor, means: Tensor, weights: Tensor, singular: bool) -> Tensor:
    """tr (S_a S_b)^(1/2) of every replicate, [R].

    Args: projected: (x_i - centre) F_b, [N, rank]. means: of each replicate's rows of it, [rank, R]. singular: of
        `_is_singular`; eigenvalues that are no more than rounding are then zeros.
    """
    num_rows, rank = projected.shape
    # A replicate's inner products are picked out of all of them.
    products = projected @ projected.T if num_rows <= 2 * rank else None
    roots = weights.new_zeros(weights.shape[1])
    for replicate, counts in enumerate(weights.T if rank else ()):
        present = counts.nonzero().flatten()
        few = len(present) <= rank
        if products is not None and few:
            matrix = _centred_products(products[present][:, present], counts[present])
        else:
            matrix = _covariance(projected, counts, present, means[:, replicate])
        eigenvalues = torch.linalg.eigvalsh(matrix)  # ascending; reads the lower triangle
        zero = rounding(len(matrix), float(eigenvalues[-1])) if singular or few else 0.0
        roots[replicate] = eigenvalues[eigenvalues > zero].sqrt().sum()
    return roots


def _centred_products(products: Tensor, counts: Tensor) -> Tensor:
    """sqrt(c_i c_j) <y_i - mean, y_j - mean> / (n - 1), [k, k]: its eigenvalues are those of the rows' covariance.

    Args: products: <y_i, y_j>, [k, k]. counts: c, [k], their sum is n.
    """
    size, root = counts.sum(), counts.sqrt()
    with_mean = products @ counts / size
    centred = products - with_mean - with_mean[:, None] + counts @ with_mean / size
    return centred * root * (root[:, None] / (size - 1))


def _covariance(projected: Tensor, counts: Tensor, present: Tensor, mean: Tensor) -> Tensor:
    """Covariance of rows that are there counts[i] times, [rank, rank]; above the diagonal not all of it is computed.

    Args: present: the rows that have a count, [k]. mean: of the rows, [rank].
    """
    size = counts.sum()
    outer = torch.outer(mean, mean) * -size
    for start in range(0, len(present), _CHUNK_ROWS):
        rows = present[start : start + _CHUNK_ROWS]
        y = projected[rows]
        weighted = (y * counts[rows, None]).T
        for begin in range(0, len(mean), _BLOCK_COLUMNS):
            outer[begin:, begin : begin + _BLOCK_COLUMNS] += weighted[begin:] @ y[:, begin : begin + _BLOCK_COLUMNS]
    return outer / (size - 1)


def _is_singular(features: Tensor, weights: Tensor, b: Factored) -> bool:
    """Return True if the covariance of all rows of any replicate is singular on the range of S_b, where it counts."""
    rank = b.factor.shape[1]
    if not 0 < rank < len(features):
        return True
    covariance = Moments.weighted(features, weights.sum(dim=1)).covariance
    if not b.full_rank:
        basis = b.factor / np.linalg.norm(b.factor, axis=0)
        covariance = basis.T @ covariance @ basis
    return cholesky_factor(covariance) is None


def _distance(a: Factored, b: Factored) -> float:
    difference = a.mean - b.mean
    return float(difference @ difference + a.trace + b.trace - 2 * _nuclear_norm(a.factor.T @ b.factor))


def _nuclear_norm(matrix: Array) -> float:
    """Return the sum of the singular values, from the eigenvalues of the smaller of the two symmetric products."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    eigenvalues = np.linalg.eigvalsh(wide @ wide.T)
    return float(np.sqrt(np.clip(eigenvalues, 0, None)).sum())


def _notes(whose: str, gaussian: GaussianLike, factored: Factored) -> list[str]:
    count, width, rank = gaussian.count, gaussian.width, factored.factor.shape[1]
    if count is not None and count <= width:
        rank_and_bias = f"the covariance has rank {count - 1} at most and the distance is biased upwards"
        advice = "the bias falls as samples are added: compare equal numbers of samples only"
        return [f"{whose}: {count} for {width} dimensions, so {rank_and_bias}; {advice}"]
    notes = []
    if count is None:
        notes.append(f"{whose}: the number of images behind it is unknown, and so is its share of the distance's bias")
    if not factored.full_rank:
        of_how_many = "" if count is None else f" of {count}"
        singular = f"the covariance{of_how_many} is singular to working precision (rank {rank} of {width})"
        notes.append(f"{whose}: {singular}; directions without variance count as exactly 0")
    return notes
