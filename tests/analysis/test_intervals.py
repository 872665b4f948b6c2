"""The t-interval against hand calculation and scipy."""

from __future__ import annotations

import math

import pytest
from scipy.stats import t

from analysis.intervals import half_width, t_quantile


@pytest.mark.parametrize("degrees", [*range(1, 41), 60, 100, 1000])
def test_quantiles_agree_with_scipy(degrees: int) -> None:
    assert t_quantile(degrees) == pytest.approx(t.ppf(0.975, degrees), abs=6e-5)


def test_half_width_of_one_two_three_is_as_computed_by_hand() -> None:
    # Standard deviation 1, three values: 4.3027 / sqrt(3).
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(2.4842, abs=1e-4)


def test_a_single_value_has_no_interval() -> None:
    assert half_width([3.0]) is None


def test_equal_values_have_an_interval_of_no_width() -> None:
    assert half_width([2.0, 2.0, 2.0]) == 0.0


def test_nan_gives_nan() -> None:
    width = half_width([1.0, math.nan])
    assert width is not None
    assert math.isnan(width)
