"""Equal numbers have equal digests, however they are written."""

from __future__ import annotations

import pytest

from orchestration.common.digests import digest_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"location": -0.0}, {"location": 0.0}),
        ({"a": {"b": [1.5, (-0.0, "x")]}}, {"a": {"b": [1.5, [0.0, "x"]]}}),
        ({"b": 1, "a": 2}, {"a": 2, "b": 1}),
    ],
)
def test_equal_settings_have_one_digest(one: dict[str, object], other: dict[str, object]) -> None:
    assert digest_of(one) == digest_of(other)


@pytest.mark.parametrize("other", [{"a": -0.05}, {"a": 0}, {"a": "-0.0"}, {"a": False}])
def test_other_settings_have_another(other: dict[str, object]) -> None:
    assert digest_of(other) != digest_of({"a": 0.0})
