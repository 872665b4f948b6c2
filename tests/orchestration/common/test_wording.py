"""Counts in words, and titles for interfaces that take ASCII alone, as Ray's metrics do."""

from __future__ import annotations

import pytest

from orchestration.common.wording import ascii_text, counted


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
