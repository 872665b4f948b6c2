"""The choice of the best row: the same seeds for all, and failures never help."""

from __future__ import annotations

import numpy as np

from analysis.results.best_row import choose_best, largest_block
from analysis.results.intervals import SeedValue


def row(**values: float) -> list[SeedValue]:
    return [SeedValue(int(seed[1:]), value) for seed, value in values.items()]


A, B = row(s0=5.0, s1=5.1, s2=5.05), row(s0=4.0, s1=4.11, s2=4.04, s3=9.9)


def test_the_best_is_chosen_at_the_seeds_that_all_compared_rows_have() -> None:
    found = choose_best({"A": A, "B": B, "C": row(s3=8.0)}, "lower")
    assert found is not None
    assert (found.rows, found.block.seeds, found.block.left_out) == (("B",), (0, 1, 2), ("C",))


def test_means_over_other_seeds_that_say_otherwise_are_told() -> None:
    found = choose_best({"A": A, "B": B}, "lower")
    assert found is not None
    assert not found.agrees  # B's mean with its hard seed is worse than A's without it
    assert found.by_all_seeds == ("A",)


def test_a_row_with_one_seed_of_three_does_not_take_the_others_seeds_away() -> None:
    rows = {"a": row(s0=1.0), "b": row(s0=2.0, s1=2.1, s2=2.2), "c": row(s0=3.0, s1=3.1, s2=3.2)}
    found = largest_block(rows)
    assert found is not None
    assert (found.rows, found.seeds, found.left_out) == (("b", "c"), (0, 1, 2), ("a",))


def test_rows_without_a_seed_in_common_have_no_best() -> None:
    assert choose_best({"a": row(s0=1.0), "b": row(s1=2.0)}, "lower") is None
    assert choose_best({"a": row(s0=1.0), "b": []}, "lower") is None


def test_rows_that_are_all_alike_have_no_best_and_others_share_it() -> None:
    assert choose_best({"a": row(s0=1.0), "b": row(s0=1.0)}, "lower") is None
    found = choose_best({"a": row(s0=1.0), "b": row(s0=1.0), "c": row(s0=0.5)}, "higher")
    assert found is not None
    assert found.rows == ("a", "b")


def test_a_row_that_loses_its_hard_seeds_is_best_no_more_often_than_others() -> None:
    """1,000 parts of four equal rows; the first loses its values above the upper quartile. It was 58% of them."""
    generator, best = np.random.default_rng(1), 0
    for _ in range(1000):
        values = generator.standard_normal((4, 4))
        rows = {
            str(index): [SeedValue(seed, float(v)) for seed, v in enumerate(own) if index or v < 0.67]
            for index, own in enumerate(values)
        }
        failed = [label for label, own in rows.items() if len(own) < 4]
        found = choose_best(rows, "lower", failed)
        best += found is not None and found.agrees and found.rows == ("0",)
    assert best / 1000 <= 0.25 + 3 * np.sqrt(0.25 * 0.75 / 1000)
