"""Counts in words."""

from __future__ import annotations

import pytest

from orchestration.common.counts import counted


@pytest.mark.parametrize(("number", "words"), [(0, "0 tasks"), (1, "1 task"), (2, "2 tasks"), (1200, "1,200 tasks")])
def test_one_is_singular_and_all_else_plural(number: int, words: str) -> None:
    assert counted(number, "task") == words
