"""Moments: a monoid up to rounding, and numpy's covariance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfm_core.metrics.scores import moments as moments_module
from dfm_core.metrics.scores.moments import Moments

FEATURES = torch.randn(60, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) @ torch.diag(
    torch.tensor([1.0, 10.0, 0.1, 3.0, 2.0], dtype=torch.float64)
) + torch.tensor([0.0, 5.0, -2.0, 1.0, 100.0], dtype=torch.float64)


def assert_same(a: Moments, b: Moments, rtol: float) -> None:
    assert a.count == b.count
    np.testing.assert_allclose(a.total, b.total, rtol=rtol)
    np.testing.assert_allclose(a.outer, b.outer, rtol=rtol)


def test_mean_and_covariance_are_those_of_numpy() -> None:
    moments = Moments.of(FEATURES)
    np.testing.assert_allclose(moments.mean, FEATURES.numpy().mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(moments.covariance, np.cov(FEATURES.numpy(), rowvar=False), rtol=0, atol=1e-9)
    assert np.array_equal(moments.covariance, moments.covariance.T)


@given(st.lists(st.integers(1, 59), min_size=2, max_size=2, unique=True))
def test_merging_is_associative_and_equals_the_whole(cuts: list[int]) -> None:
    first, second = sorted(cuts)
    a, b, c = (Moments.of(part) for part in (FEATURES[:first], FEATURES[first:second], FEATURES[second:]))
    assert_same(a.merge(b).merge(c), a.merge(b.merge(c)), rtol=1e-13)
    assert_same(a.merge(b).merge(c), Moments.of(FEATURES), rtol=1e-12)
    assert_same(a.merge(b), b.merge(a), rtol=0)


def test_empty_is_neutral_on_both_sides() -> None:
    moments = Moments.of(FEATURES)
    assert_same(Moments.empty(5).merge(moments), moments, rtol=0)
    assert_same(moments.merge(Moments.empty(5)), moments, rtol=0)


def test_arrays_bring_the_same_moments_back_from_a_file(tmp_path: Path) -> None:
    moments = Moments.of(FEATURES)
    np.savez(tmp_path / "moments.npz", **moments.arrays("a"), **Moments.empty(2).arrays("b"))
    with np.load(tmp_path / "moments.npz") as archive:
        assert_same(Moments.from_arrays(archive, "a"), moments, rtol=0)
        assert Moments.from_arrays(archive, "b").count == 0


def test_float32_features_are_accumulated_in_float64() -> None:
    features = torch.full((100_000, 1), 0.1)
    assert float(Moments.of(features).mean[0]) == pytest.approx(float(features[0, 0]), rel=1e-14)


def test_moments_of_too_few_features_are_refused() -> None:
    with pytest.raises(AssertionError, match="no features were accumulated"):
        _ = Moments.empty(3).mean
    with pytest.raises(AssertionError, match="a covariance needs two samples, got 1"):
        _ = Moments.of(FEATURES[:1]).covariance


def test_features_that_are_not_finite_are_refused() -> None:
    spoilt = FEATURES.clone()
    spoilt[7, 1], spoilt[9, 4] = torch.nan, torch.inf
    with pytest.raises(ValueError, match=r"^features of 2 of 60 samples are not finite: 7, 9$"):
        Moments.of(spoilt)


def test_weighted_moments_are_those_of_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = torch.arange(60) % 4
    copies = Moments.of(FEATURES.repeat_interleave(counts, dim=0))
    assert_same(Moments.weighted(FEATURES, counts.double()), copies, rtol=1e-12)
    monkeypatch.setattr(moments_module, "_CHUNK_ROWS", 7)
    assert_same(Moments.weighted(FEATURES, counts.double()), copies, rtol=1e-12)
