"""The linear probe: its gradient, and answers that are known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import approx_fprime, check_grad

from dfm_core.metrics.scores import probe
from dfm_core.metrics.scores.probe import LinearProbe, fit_linear_probe


def blobs(num_rows: int, distance: float, num_classes: int = 4, width: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Unit Gaussians around corners, with columns of very different scales."""
    generator = np.random.default_rng(0)
    labels = np.arange(num_rows) % num_classes
    centres = distance * np.eye(num_classes, width)
    features = centres[labels] + generator.standard_normal((num_rows, width))
    return features * np.array([1, 1000, 0.001, 1, 1, 1]) + 50, labels.astype(np.int64)


def test_separable_blobs_are_told_apart() -> None:
    features, labels = blobs(800, distance=20)
    fitted = fit_linear_probe(features[:400], labels[:400], 4)
    assert (fitted.scores(features[400:]).argmax(axis=1) == labels[400:]).mean() == 1.0


def test_features_without_information_give_chance() -> None:
    features, labels = blobs(4000, distance=0)
    fitted = fit_linear_probe(features[:2000], labels[:2000], 4)
    assert (fitted.scores(features[2000:]).argmax(axis=1) == labels[2000:]).mean() == pytest.approx(0.25, abs=0.05)


def test_the_gradient_is_the_slope_of_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[Callable[[np.ndarray], tuple[float, np.ndarray]]] = []
    original = probe.minimize

    def spy(objective: Any, *args: Any, **settings: Any) -> Any:
        captured.append(objective)
        return original(objective, *args, **settings)

    monkeypatch.setattr(probe, "minimize", spy)
    features, labels = blobs(40, distance=2)
    fit_linear_probe(features, labels, 4, l2=0.1)
    (objective,) = captured
    point = np.random.default_rng(1).standard_normal(7 * 4)
    assert check_grad(lambda x: objective(x)[0], lambda x: objective(x)[1], point) < 1e-6
    assert np.abs(approx_fprime(point, lambda x: objective(x)[0])).max() > 1e-2


def test_the_solution_is_stationary_and_has_no_seed() -> None:
    features, labels = blobs(200, distance=1)
    first, again = (fit_linear_probe(features, labels, 4, l2=0.05) for _ in range(2))
    assert np.array_equal(first.weight, again.weight)
    # Stationarity of mean cross-entropy + l2/2 |W|^2, written out once more.
    x = (features - features.mean(0)) / features.std(0)
    scores = x @ first.weight + first.bias
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    residual = (p - np.eye(4)[labels]) / 200
    np.testing.assert_allclose(x.T @ residual + 0.05 * first.weight, 0, atol=1e-4)
    np.testing.assert_allclose(residual.sum(0), 0, atol=1e-4)


def test_a_constant_feature_does_no_harm() -> None:
    features, labels = blobs(200, distance=20)
    features[:, 5] = 3.0
    assert (fit_linear_probe(features, labels, 4).scores(features).argmax(axis=1) == labels).mean() == 1.0


def test_prediction_is_the_largest_score_by_hand() -> None:
    fitted = LinearProbe(np.array([1.0]), np.array([2.0]), np.array([[1.0, -1.0]]), np.array([0.0, 0.5]))
    features = np.array([[2.0], [1.0], [-3.0]])
    assert fitted.scores(features).tolist() == [[0.5, 0.0], [0.0, 0.5], [-2.0, 2.5]]
    assert fitted.scores(features.astype(np.float32)).dtype == np.float64
    assert fitted.scores(features).argmax(axis=1).tolist() == [0, 1, 1]
