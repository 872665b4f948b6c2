"""Rows against the best one: hand calculation, scipy, and the promised share of false claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm, ttest_rel

from analysis.results.intervals import SeedValue
from analysis.results.significance import holm, paired_difference, separate_from_best

Values = dict[str, list[SeedValue]]


def seeds(*values: float, error: float | None = None, first: int = 0) -> list[SeedValue]:
    return [SeedValue(seed, value, error) for seed, value in enumerate(values, first)]


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        # By hand; statsmodels' multipletests(method="holm") gives the same.
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.6, 0.7, 0.001], [1.0, 1.0, 0.003]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_is_as_by_hand(raw: list[float], adjusted: list[float]) -> None:
    assert holm(raw, len(raw)) == pytest.approx(adjusted)


def test_holm_over_a_larger_family_is_never_below_that_over_all_its_tests() -> None:
    assert holm([0.01, 0.002], 6) == pytest.approx([0.05, 0.012])
    whole = holm([0.01, 0.002, 0.001, 0.5, 0.003, 0.2], 6)
    assert all(part >= own for part, own in zip(holm([0.01, 0.002], 6), whole, strict=False))


def test_rows_are_compared_by_common_seeds() -> None:
    found = paired_difference(seeds(1.0, 2.0, 3.0), seeds(9.0, 2.5, 4.5, 100.0, first=0)[1:])
    assert found is not None
    assert (found.mean, found.num_seeds) == (1.0, 2)  # seeds 1 and 2: 0.5 and 1.5
    assert paired_difference(seeds(1.0), seeds(1.0, first=7)) is None


def test_paired_rows_are_separable_where_their_own_intervals_overlap() -> None:
    # Seeds differ by far more than rows do, but all by the same amount.
    rows: Values = {"a": seeds(10.0, 20.0, 30.0), "b": seeds(11.0, 21.1, 30.9), "c": seeds(10.1, 19.0, 31.0)}
    found = separate_from_best("a", rows)
    p = [ttest_rel([v.value for v in rows[row]], [v.value for v in rows["a"]]).pvalue for row in "bc"]
    assert [d.adjusted_p for d in found.differences] == pytest.approx([3 * p[0], min(1, 2 * p[1])])  # of three pairs
    assert found.not_separable == ("c",)
    assert not found.one_seed


def test_the_error_of_samples_of_both_rows_is_in_a_difference() -> None:
    found = separate_from_best("a", {"a": seeds(1.0, error=0.3), "b": seeds(2.0, error=0.4)})
    (only,) = found.differences
    assert only.uncertainty is not None
    assert only.uncertainty.of_samples == pytest.approx(0.5)
    assert only.adjusted_p == pytest.approx(2 * norm.sf(2.0))
    assert found.one_seed


def test_a_single_seed_without_an_error_of_samples_separates_nothing() -> None:
    found = separate_from_best("a", {"a": seeds(1.0), "b": seeds(100.0)})
    assert found.not_separable == ("b",)


def test_equal_rows_are_never_separable() -> None:
    assert separate_from_best("a", {"a": seeds(1.0, 1.0), "b": seeds(1.0, 1.0)}).not_separable == ("b",)


def test_a_row_without_a_common_seed_is_not_compared() -> None:
    assert separate_from_best("a", {"a": seeds(1.0, 2.0), "b": seeds(1.0, first=9), "c": []}).differences == ()


@pytest.mark.parametrize(("num_rows", "num_seeds"), [(2, 3), (6, 3), (6, 10)])
def test_of_equal_rows_one_is_wrongly_called_separable_in_no_more_than_five_percent(
    num_rows: int, num_seeds: int
) -> None:
    """2,000 made-up parts of equal rows, whose best is picked on the same numbers."""
    generator = np.random.default_rng(3)
    wrong = 0
    for _ in range(2000):
        values = generator.standard_normal((num_rows, 1, num_seeds)) + generator.standard_normal((1, 1, num_seeds))
        rows = {str(index): seeds(*map(float, row[0])) for index, row in enumerate(values)}
        best = min(rows, key=lambda label: math.fsum(value.value for value in rows[label]))
        wrong += len(separate_from_best(best, rows).not_separable) < num_rows - 1
    assert wrong / 2000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2000)
