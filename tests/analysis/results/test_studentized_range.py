"""The studentized range against scipy's, and against Tukey's tables."""

from __future__ import annotations

import math

import pytest
from scipy.stats import studentized_range

from analysis.results.studentized_range import range_quantile, range_survival


@pytest.mark.parametrize("degrees", [1, 2, 3, 6.5, 40, math.inf])
@pytest.mark.parametrize("num_rows", [2, 3, 4, 8, 20])
def test_the_range_is_scipys(num_rows: int, degrees: float) -> None:
    for q in (0.5, 3.0, 12.0):
        expected = max(1e-10, float(studentized_range.sf(q, num_rows, degrees)))
        assert range_survival(q, num_rows, degrees) == pytest.approx(expected, rel=3e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("num_rows", "degrees", "tabulated"), [(3, 6, 4.34), (4, 6, 4.90), (8, 14, 4.99), (4, math.inf, 3.63)]
)
def test_quantiles_are_those_of_printed_tables(num_rows: int, degrees: float, tabulated: float) -> None:
    assert range_quantile(0.05, num_rows, degrees) == pytest.approx(tabulated, abs=0.005)


def test_no_p_value_is_zero() -> None:
    assert range_survival(1e9, 4, 6) == range_survival(1e9, 2, 6) == 1e-10
