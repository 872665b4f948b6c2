"""Ranks by hand, and those of a part as they are printed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from analysis.comparison.row_ranks import rank_rows, rank_values
from analysis.report.cell_csv import cell_csv
from analysis.text.aggregate_tables import make_rank_table, rank_lines
from tests.analysis.text.test_significance_text import Printed

VALUES = {"a": (1.0, 1.1, 0.9), "b": (2.0, 2.3, 1.8), "c": (0.5, 2.0, 1.4)}


@pytest.mark.parametrize("shape", [(7,), (5, 4)])
def test_ranks_are_those_of_scipy_with_ties(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(0, 4, shape).astype(float)
    np.testing.assert_array_equal(rank_values(values, "lower"), rankdata(values, axis=0))
    np.testing.assert_array_equal(rank_values(values, "higher"), rankdata(-values, axis=0))


def test_a_rank_is_the_mean_over_seeds_that_all_rows_have() -> None:
    ranks = rank_rows(Printed(VALUES).section)
    assert ranks is not None
    assert ranks.num_seeds == (3, 3)
    # FD, lower: c, a, b; a, c, b; a, c, b. Accuracy has the same values, and higher is better.
    assert ranks.ranks["a"] == pytest.approx((4 / 3, 8 / 3))
    assert ranks.ranks["b"] == pytest.approx((3, 1))
    assert ranks.ranks["c"] == pytest.approx((5 / 3, 7 / 3))
    assert ranks.mean_rank("a") == pytest.approx(2)
    table = make_rank_table(ranks)
    assert table is not None
    assert table.header == ("rank by", "FD-Lite0", "label accuracy", "mean rank")
    assert table.rows[1] == ("b", "3", "1", "2")


def test_a_seed_that_a_row_lacks_counts_for_none() -> None:
    section = Printed({"a": (1.0, 1.1, 9.0), "b": (2.0, 2.3, None)}).section
    ranks = rank_rows(section)
    assert ranks is not None
    assert ranks.num_seeds == (2, 2)
    assert ranks.ranks["a"][0] == 1
    assert ("a", "fd", 1.0, 2) in [*rank_lines(ranks)]
    assert ",1.0," in next(line for line in cell_csv(section, None, ranks).splitlines() if line.startswith("p,a,fd"))


def test_one_row_has_no_rank() -> None:
    assert rank_rows(Printed({"a": (1.0, 1.1, 0.9)}).section) is None
    assert make_rank_table(None) is None
