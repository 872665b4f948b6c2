"""Counts in words, and titles for interfaces that take ASCII alone, as Ray's metrics do."""

from __future__ import annotations

import pytest

from orchestration.common.wording import ascii_text, bytes_text, counted, duration_text, rounded


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dfm, p₀ 0.7, seed=0", "dfm, p0 0.7, seed=0"),
        ("τ 0.9, μ 1.5", "tau 0.9, mu 1.5"),
        ("größer → 数", "gro?er ? ?"),
        ("plain", "plain"),
    ],
)
def test_what_ascii_lacks_is_named_or_marked(text: str, expected: str) -> None:
    found = ascii_text(text)
    assert found.isascii()
    assert found == expected


@pytest.mark.parametrize(("number", "words"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks")])
def test_one_is_singular_and_all_else_plural(number: int, words: str) -> None:
    assert counted(number, "task") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "1 second"),
        (40.4, "40 seconds"),
        (518, "9 minutes"),
        (5400, "1.5 hours"),
        (36000, "10 hours"),
        (10**6, "12 days"),
    ],
)
def test_a_duration_has_the_unit_that_people_would_take(seconds: float, words: str) -> None:
    assert duration_text(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"), [(0.03123, "0.0312"), (12.34, "12.3"), (999.6, "1,000"), (2899, "2,900"), (0, "0")]
)
def test_a_large_number_has_no_exponent(number: float, words: str) -> None:
    assert rounded(number) == words


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(183 * 10**6, "183 MB"), (1_200_000_000, "1.2 GB"), (5_925_552 * 10**6, "5.9 TB")]
)
def test_bytes_have_the_unit_that_fits(num_bytes: int, words: str) -> None:
    assert bytes_text(num_bytes) == words
