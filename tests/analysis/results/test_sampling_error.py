"""Errors of shares near 0 and 1."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.results.sampling_error import share_error


def test_of_samples_that_are_all_right_the_error_is_that_of_wilsons_interval() -> None:
    error = share_error(1.0, None, 300)
    assert error is not None
    low = binomtest(300, 300).proportion_ci(method="wilson").low
    assert 1.959964 * error == pytest.approx(1 - low)


def test_in_the_middle_the_recorded_error_stands_or_that_of_the_share() -> None:
    assert share_error(0.5, 0.01, 300) == 0.01
    assert share_error(0.5, None, 400) == pytest.approx(0.025)
    assert share_error(0.5, None, None) is None


def test_a_recorded_zero_is_not_believed() -> None:
    assert share_error(1.0, 0.0, 300) == share_error(1.0, None, 300)


@pytest.mark.parametrize("share", [0.9, 0.95, 0.98, 0.998])
def test_intervals_of_shares_cover(share: float) -> None:
    """3,000 accuracies of 300 samples: Wald's interval covers 78 to 88% near one."""
    generator, inside = np.random.default_rng(4), 0
    for right in generator.binomial(300, share, 3000):
        found = float(right) / 300
        wald = math.sqrt(found * (1 - found) / 300)
        error = share_error(found, wald or None, 300)
        assert error is not None
        inside += abs(found - share) <= 1.96 * error
    assert inside / 3000 >= 0.93
