"""The settings of a `search:`."""

from __future__ import annotations

from orchestration.spec.search.section import LimitConfig


def test_a_limit_says_by_how_much_it_is_broken() -> None:
    assert LimitConfig(at_most=40.0).excess(60.0) == 20.0
    assert LimitConfig(at_least=0.5).excess(0.75) == -0.25
    assert LimitConfig(at_least=1.0, at_most=2.0).excess(1.25) == -0.25
