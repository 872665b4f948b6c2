"""Halves and quarters: disjoint, balanced, and the error of a mean."""

from __future__ import annotations

import pytest
import torch

from dfm_core.metrics.scores.half_samples import HalfSamples

SPLITS = 50


def test_halves_and_quarters_are_disjoint_and_hold_labels_equally_often() -> None:
    halves = HalfSamples(200, SPLITS, 5)
    counts = halves.counts()
    assert counts.shape == (200, 2 * SPLITS + 4 * 25 + 1)
    pairs = counts[:, : 2 * SPLITS].reshape(200, SPLITS, 2)
    assert pairs.sum(dim=2).unique().tolist() == [1.0]
    assert counts[:, 2 * SPLITS : -1].reshape(200, 25, 4).sum(dim=2).unique().tolist() == [1.0]
    for label in range(5):
        assert counts[label::5, :-1].sum(dim=0).unique().tolist() == [10.0, 20.0]
    assert len({tuple(column.tolist()) for column in counts.T}) == counts.shape[1]


@pytest.mark.parametrize("falls_with_samples", [True, False])
def test_the_error_of_a_mean_is_the_known_one(falls_with_samples: bool) -> None:
    halves, counts = HalfSamples(200, SPLITS), HalfSamples(200, SPLITS).counts()
    variances = []
    for seed in range(40):
        values = torch.randn(200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        means = values @ counts / counts.sum(dim=0)
        variances.append(float((halves.influences(means, falls_with_samples=falls_with_samples) ** 2).sum()))
    assert sum(variances) / 40 == pytest.approx(1 / 200, rel=0.1)


def test_a_variance_that_does_not_fall_with_the_samples_is_scaled_most_of_the_way() -> None:
    """A sum over samples: its variance grows with N; halves alone would make a quarter of it, a full scaling all."""
    halves, counts = HalfSamples(200, SPLITS), HalfSamples(200, SPLITS).counts()
    variances = []
    for seed in range(40):
        values = torch.randn(200, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        variances.append(float((halves.influences(values @ counts, falls_with_samples=False) ** 2).sum()))
    assert sum(variances) / 40 / 200 == pytest.approx(4 ** (-1 / 3), rel=0.15)


def test_values_that_are_all_alike_have_no_influences() -> None:
    halves = HalfSamples(200, SPLITS)
    found = halves.influences(torch.ones(halves.counts().shape[1]), falls_with_samples=False)
    assert float(found.abs().max()) == 0.0
