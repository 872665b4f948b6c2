"""A linear probe: do the class labels of samples hold?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

from dfm_core.metrics.scores.moments import Array

_MAX_ITERATIONS = 300


@dataclass(frozen=True)
class LinearProbe:
    """Multinomial logistic regression on standardised features."""

    mean: Array
    scale: Array
    weight: Array
    """[D, K]."""
    bias: Array
    """[K]."""

    def scores(self, features: Array) -> Array:
        """Return the score of each class for each row, [B, D] -> [B, K] float64; their softmax is p(class)."""
        logits: Array = (features - self.mean) / self.scale @ self.weight + self.bias
        return logits


def fit_linear_probe(features: Array, labels: NDArray[np.int64], num_classes: int, l2: float = 1e-3) -> LinearProbe:
    """Minimises mean cross-entropy + l2/2 |W|^2 by L-BFGS from zero: convex, so the result has no seed.

    Args: features: [N, D]. labels: [N] in 0..num_classes - 1.
    """
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-8
    x = (features - mean) / scale
    rows, width = x.shape
    onehot = np.eye(num_classes)[labels]

    def objective(flat: Array) -> tuple[float, Array]:
        weight, bias = flat[: width * num_classes].reshape(width, num_classes), flat[width * num_classes :]
        log_p = log_softmax(x @ weight + bias, axis=1)
        residual = (np.exp(log_p) - onehot) / rows
        value = -(onehot * log_p).sum() / rows + 0.5 * l2 * (weight**2).sum()
        gradient = np.concatenate([(x.T @ residual + l2 * weight).ravel(), residual.sum(axis=0)])
        return float(value), gradient

    start = np.zeros((width + 1) * num_classes)
    optimum = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": _MAX_ITERATIONS})
    weight, bias = optimum.x[: width * num_classes].reshape(width, num_classes), optimum.x[width * num_classes :]
    return LinearProbe(mean, scale, weight, bias)
