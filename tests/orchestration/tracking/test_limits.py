"""Texts as MLflow's tables take them."""

from __future__ import annotations

import pytest

from orchestration.tracking.limits import MAX_NAME, metric_name, storable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("short", "short"),
        ("x" * 10, "x" * 10),
        ("x" * 11, "x" * 9 + "…"),
        ("a\0b", "ab"),
        ("\ud800", "?"),
        ("β" * 10, "β" * 10),
    ],
)
def test_a_text_is_cut_and_cleaned_of_what_no_database_stores(text: str, expected: str) -> None:
    assert storable(text, 10) == expected


def test_long_names_of_metrics_stay_apart_and_odd_characters_are_replaced() -> None:
    one, other = metric_name("x" * 300 + "1"), metric_name("x" * 300 + "2")
    assert len(one) == len(other) == MAX_NAME
    assert one != other
    assert metric_name("fd/steps 9-3 tau 0.7 guidance 1e+06") == "fd/steps 9-3 tau 0.7 guidance 1e_06"
    assert metric_name("fd/steps 9-3 tau 0.7") == "fd/steps 9-3 tau 0.7"
