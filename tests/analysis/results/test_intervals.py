"""Intervals and p-values against hand calculation, scipy, and what they promise over many made-up sweeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_rel

from analysis.results.intervals import SeedValue, Uncertainty, combine_errors, t_quantile
from analysis.results.sampling_error import uncertainty_of_mean


def seeds(*values: float, error: float | None = None) -> list[SeedValue]:
    return [SeedValue(seed, value, error) for seed, value in enumerate(values)]


@pytest.mark.parametrize("degrees", [1, 2, 10, 1000])
def test_quantiles_agree_with_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(t.ppf(0.975, degrees))


def half_width(*values: float) -> float | None:
    """Half-width by the spread of values alone."""
    uncertainty = uncertainty_of_mean(seeds(*values))
    return None if uncertainty is None else uncertainty.half_width


def test_half_width_of_one_two_three_is_as_computed_by_hand() -> None:
    # Standard deviation 1, three values: 4.3027 / sqrt(3).
    assert half_width(1.0, 2.0, 3.0) == pytest.approx(2.4842, abs=1e-4)
    uncertainty = uncertainty_of_mean(seeds(1.0, 2.0, 3.0))
    assert uncertainty is not None
    assert uncertainty.basis == "seeds"


def test_a_single_value_has_no_interval() -> None:
    assert half_width(3.0) is None


def test_equal_values_without_an_error_of_samples_have_no_interval() -> None:
    assert half_width(2.0, 2.0, 2.0) is None


def test_one_seed_has_the_interval_of_its_samples_alone() -> None:
    found = uncertainty_of_mean(seeds(5.0, error=0.5))
    assert found is not None
    assert found.half_width == pytest.approx(0.5 * norm.ppf(0.975))
    assert found.basis == "samples"
    assert uncertainty_of_mean(seeds(5.0)) is None


def test_spread_and_samples_add_in_squares() -> None:
    found = uncertainty_of_mean(seeds(1.0, 2.0, 3.0, error=0.5))
    assert found is not None
    # By hand: 4.30265 / sqrt(3) = 2.48414 and 1.95996 / 2 = 0.97998.
    assert found.half_width == pytest.approx(math.sqrt(2.48414**2 + 0.97998**2), abs=1e-4)
    assert found.basis == "seeds and samples"


def test_an_error_of_samples_is_not_made_smaller_by_more_seeds() -> None:
    found = uncertainty_of_mean(seeds(*[2.0] * 100, error=0.5))
    assert found is not None
    assert found.half_width == pytest.approx(0.5 * norm.ppf(0.975))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_has_no_interval(value: float) -> None:
    assert uncertainty_of_mean(seeds(1.0, value, error=0.1)) is None


def test_the_p_value_of_paired_differences_is_that_of_the_paired_t_test() -> None:
    first, second = [1.0, 4.0, 2.5, 3.0], [1.5, 4.1, 3.5, 3.2]
    differences = np.subtract(second, first)
    found = combine_errors(float(differences.var(ddof=1)) / 4, 3, None)
    assert found is not None
    assert found.p_value(float(differences.mean())) == pytest.approx(ttest_rel(second, first).pvalue)


def test_the_p_value_of_samples_alone_is_the_normal_one() -> None:
    assert Uncertainty(None, 0, 2.0).p_value(-3.0) == pytest.approx(2 * norm.sf(1.5))


@pytest.mark.parametrize("outside", [0.05, 0.3, 1e-4])
def test_an_interval_that_just_reaches_zero_leaves_out_its_p_value(outside: float) -> None:
    both = Uncertainty(0.7, 2, 0.4)
    assert both.p_value(both.half_width_at(outside)) == pytest.approx(outside)


def test_values_far_from_zero_have_the_smallest_p_value_and_zero_the_largest() -> None:
    both = Uncertainty(0.7, 20, 0.4)
    assert 0 < both.p_value(1e9) <= 1e-9
    assert both.p_value(0.0) == 1.0


def test_without_any_error_nothing_is_certain() -> None:
    assert combine_errors(0.0, 2, None) is None
    assert combine_errors(None, 0, 0.0) is None


@pytest.mark.parametrize("outside", [0.05, 1e-3])
def test_an_interval_of_many_rows_leaves_out_its_p_value(outside: float) -> None:
    both = Uncertainty(0.7, 6, 0.4, num_rows=4)
    assert both.p_value(both.half_width_at(outside)) == pytest.approx(outside, rel=1e-4)
    assert both.half_width_at(outside) > Uncertainty(0.7, 6, 0.4).half_width_at(outside)


@pytest.mark.parametrize("common", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_the_interval_covers_the_truth_for_every_common_share_of_sampling_error(common: float, num_seeds: int) -> None:
    """4,000 made-up cells: spread over seeds 1, error of samples 0.7; 95% with a tolerance of 3 standard errors."""
    generator = np.random.default_rng(5)
    shape = (4000, num_seeds)
    shared, own = generator.standard_normal((4000, 1)), generator.standard_normal(shape)
    values = generator.standard_normal(shape) + 0.7 * (np.sqrt(common) * shared + np.sqrt(1 - common) * own)
    inside = 0
    for row in values:
        found = uncertainty_of_mean(seeds(*map(float, row), error=0.7))
        assert found is not None
        inside += abs(row.mean()) <= found.half_width
    assert inside / 4000 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 4000)
