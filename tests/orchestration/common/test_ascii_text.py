"""Titles for interfaces that take ASCII alone, as Ray's metrics do."""

from __future__ import annotations

import pytest

from orchestration.common.ascii_text import ascii_text


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
