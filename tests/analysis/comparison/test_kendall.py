"""Kendall's tau against scipy, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kendalltau

from analysis.comparison.kendall import RankAgreement, chance_of_order, kendall_tau, rank_agreement
from analysis.results.intervals import SeedValue


def row(*values: float, error: float | None = None) -> list[SeedValue]:
    return [SeedValue(seed, value, error) for seed, value in enumerate(values)]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("num_rows", [3, 4, 7])
def test_tau_is_scipys_with_and_without_ties(num_rows: int) -> None:
    random = np.random.default_rng(num_rows)
    for _ in range(50):
        ours, published = random.integers(0, 4, num_rows), random.integers(0, 4, num_rows)
        expected = kendalltau(ours, published).statistic
        assert kendall_tau(ours, published) == pytest.approx(expected, nan_ok=True)


def test_tau_of_many_orders_is_that_of_each() -> None:
    random = np.random.default_rng(1)
    ours, published = random.standard_normal((5, 3, 6)), random.standard_normal(6)
    expected = [[kendalltau(one, published).statistic for one in two] for two in ours]
    assert kendall_tau(ours, published) == pytest.approx(np.array(expected))


def test_the_same_order_is_one_and_the_opposite_minus_one() -> None:
    ours = [row(1.0), row(2.0), row(3.0)]
    assert rank_agreement(ours, [10, 20, 30], generator()) == RankAgreement(1.0, 3, p_value=1 / 3)
    assert rank_agreement(ours, [30, 20, 10], generator()) == RankAgreement(-1.0, 3, p_value=1 / 3)


def test_a_tie_of_the_paper_is_neither() -> None:
    found = rank_agreement([row(1.0), row(2.0), row(3.0)], [10, 10, 30], generator())
    assert found is not None
    assert found.tau == pytest.approx(2 / np.sqrt(6))  # two pairs of three, of which the paper ties one


@pytest.mark.parametrize(
    ("ours", "published"), [([1.0, 2.0], [1, 2]), ([1.0, 2.0, 3.0], [5, 5, 5]), ([4.0, 4.0, 4.0], [1, 2, 3])]
)
def test_two_rows_or_rows_that_are_all_tied_have_no_tau(ours: list[float], published: list[float]) -> None:
    assert rank_agreement([row(value) for value in ours], published, generator()) is None


def test_the_interval_is_narrow_for_rows_far_apart_and_wide_for_close_ones() -> None:
    apart = rank_agreement([row(1, 2, 1.6), row(110, 120, 115), row(210, 220, 214)], [1, 2, 3], generator())
    close = rank_agreement([row(1, 3, 2), row(2, 1, 3.1), row(3, 2.2, 1)], [1, 2, 3], generator())
    assert apart == RankAgreement(1.0, 3, 1.0, 1.0, "seeds", 1 / 3)
    assert close is not None
    assert close.low is not None
    assert close.low < 0
    assert close.high == 1.0


def test_of_one_seed_the_interval_is_that_of_the_samples() -> None:
    ours = [row(1.0, error=0.01), row(2.0, error=0.01), row(2.01, error=0.01)]
    found = rank_agreement(ours, [1, 2, 3], generator())
    assert found is not None
    assert (found.low, found.high, found.basis) == (pytest.approx(1 / 3), 1.0, "samples")


def test_what_a_seed_does_to_all_rows_is_no_error_of_their_order() -> None:
    """Rows that rise and fall together never change places, though their values overlap widely."""
    found = rank_agreement([row(0, 10, 20), row(1, 11, 21), row(2, 12, 22)], [1, 2, 3], generator())
    assert found == RankAgreement(1.0, 3, 1.0, 1.0, "seeds", 1 / 3)


def test_no_spread_at_all_is_no_certainty() -> None:
    found = rank_agreement([row(1, 1), row(2, 2), row(3, 3)], [1, 2, 3], generator())
    assert found == RankAgreement(1.0, 3, p_value=1 / 3)


def test_the_interval_is_the_same_each_time_and_another_with_another_generator() -> None:
    ours = [row(1, 3, 2, error=0.5), row(2, 1, 3.1, error=0.5), row(2.5, 2.2, 1, error=0.5), row(3, 1, 2, error=0.5)]
    published = [1.0, 2.0, 3.0, 4.0]
    assert rank_agreement(ours, published, generator()) == rank_agreement(ours, published, generator())
    drawn = [np.random.default_rng(seed) for seed in (0, 1)]
    states = [one.bit_generator.state["state"] for one in drawn]
    for one in drawn:
        rank_agreement(ours, published, one)
    assert [one.bit_generator.state["state"] for one in drawn] != states


@pytest.mark.parametrize(
    ("gap", "num_seeds", "least"), [(0.3, 2, 0.95), (0.3, 3, 0.95), (1.0, 3, 0.95), (1e-9, 3, 0.85)]
)
def test_the_interval_holds_the_true_tau(gap: float, num_seeds: int, least: float) -> None:
    """400 made-up parts of five rows that are `gap` deviations apart, half of their spread common to all."""
    random = np.random.default_rng(2)
    truth = gap * np.arange(5)
    inside = 0
    for _ in range(400):
        published = random.permutation(5).astype(float)
        values = truth[:, None] + random.standard_normal((5, num_seeds)) + random.standard_normal((1, num_seeds))
        found = rank_agreement([row(*map(float, own)) for own in values], list(published), random)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        inside += found.low - 1e-9 <= float(kendall_tau(truth, published)) <= found.high + 1e-9
    assert inside / 400 >= least - 2 * np.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize(("num_rows", "p"), [(3, 1 / 3), (4, 1 / 12), (5, 1 / 60)])
def test_the_chance_of_the_same_order_is_exact(num_rows: int, p: float) -> None:
    ours = np.arange(float(num_rows))
    assert chance_of_order(ours, ours) == pytest.approx(p)
    assert chance_of_order(ours, ours) == pytest.approx(kendalltau(ours, ours, method="exact").pvalue)
    assert 0 < chance_of_order(np.arange(12.0), np.arange(12.0)) < 1e-4


def test_rows_without_two_seeds_in_common_have_an_interval_of_their_own_spread() -> None:
    ours = [[SeedValue(2 * index + seed, 10.0 * index + seed) for seed in (0, 1)] for index in range(3)]
    found = rank_agreement(ours, [1, 2, 3], generator())
    assert found is not None
    assert (found.basis, found.high) == ("seeds", 1.0)
    assert found.low is not None
    assert found.low < 1
