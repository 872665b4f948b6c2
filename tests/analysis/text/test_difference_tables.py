"""Differences from a reference row, in words and for LaTeX."""

from __future__ import annotations

import pytest

from analysis.contract.metric_errors import MetricError
from analysis.report.latex import latex_plain
from analysis.results.cells import interquartile_mean, mean_without_bias, probability_of_improvement
from analysis.results.intervals import SeedValue
from analysis.text.difference_tables import DIFFERENCE_LEGEND, make_difference_table
from tests.analysis.text.test_significance_text import Printed

VALUES = {"a": (1.0, 1.1, 0.9), "b": (2.0, 2.3, 1.8), "c": (0.5, 2.0, 1.4)}


def test_a_line_has_the_ratio_or_difference_its_interval_and_how_often_it_is_better() -> None:
    found = make_difference_table(Printed(VALUES, scales={"fd": "log"}).section)
    assert found is not None
    assert found.header == ("against a", "FD-Lite0 ↓", "label accuracy ↑")
    assert [row[0] for row in found.rows] == ["b", "c"]
    assert found.rows[0][1].startswith("×2.03 (")
    assert found.rows[0][1].endswith("; better in 0%)")
    assert found.rows[1][1].endswith("; better in 33%)")
    assert found.rows[0][2].startswith("+1.03 (")
    assert r"against a & FD-Lite0 $\downarrow$ &" in latex_plain("p", found, DIFFERENCE_LEGEND)


def test_a_baseline_is_what_rows_stand_against() -> None:
    found = make_difference_table(Printed(VALUES, baseline="c").section)
    assert found is not None
    assert (found.header[0], [row[0] for row in found.rows]) == ("against c", ["a", "b"])


def test_a_part_without_two_rows_to_compare_has_none() -> None:
    assert make_difference_table(Printed({"a": (1.0, 2.0, 3.0)}).section) is None


def test_the_interquartile_mean_leaves_out_the_outer_quarters() -> None:
    assert interquartile_mean([100.0, 1.0, 2.0, 3.0]) == 2.5
    assert interquartile_mean([1.0, 2.0, 3.0]) is None


def test_a_mean_without_bias_needs_the_bias_of_every_seed() -> None:
    known = [SeedValue(seed, 5.0 + seed, error=MetricError("jackknife", 5.0 + seed, 1.0, bias=2.0)) for seed in (0, 1)]
    assert mean_without_bias(known) == 3.5
    assert mean_without_bias([*known, SeedValue(2, 5.0)]) is None
    assert mean_without_bias([]) is None


def test_the_probability_of_improvement_counts_pairs_and_half_of_ties() -> None:
    assert probability_of_improvement([2.0, 4.0], [1.0, 4.0], "lower") == pytest.approx((2 + 0 + 0.5) / 4)
    assert probability_of_improvement([2.0, 4.0], [1.0, 4.0], "higher") == pytest.approx((1 + 0.5) / 4)
