"""about.json, whole and broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from analysis.records.about import About, json_object, parse_about
from tests.support.plans import protocol


def said(document: Any) -> About:
    return parse_about(json_object(json.dumps(document).encode()))


def test_notes_and_protocols_are_read_by_metric() -> None:
    found = said({"notes": {"fd": ["few samples", " "], "x": []}, "protocols": {"fd": protocol("fd")}})
    assert found.notes == {"fd": ("few samples",), "x": ()}
    assert found.protocols["fd"].values == protocol("fd")
    assert found.problems == ()


def test_both_keys_are_optional_and_others_are_left_alone() -> None:
    assert said({}) == said({"written_by": "me"}) == About()


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff\xfe\x00", b"[" * 100_000, b'{"notes": {"fd": ["\\ud800"]}}'],
    ids=["empty", "cut", "list", "null", "no text", "deep", "half a surrogate pair"],
)
def test_a_broken_file_counts_as_absent_and_says_so(data: bytes) -> None:
    assert parse_about(json_object(data)) == About(problems=("about.json is not a JSON object; it is left out",))
    assert json_object(data) is None


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"notes": []}, "about.json: notes is not a JSON object; it is left out"),
        ({"protocols": "fd"}, "about.json: protocols is not a JSON object; it is left out"),
        ({"notes": {"fd": "text"}}, "about.json: the notes of fd are not a list of texts; they are left out"),
        ({"notes": {"fd": ["a", 1]}}, "about.json: the notes of fd are not a list of texts; they are left out"),
        (
            {"protocols": {"fd": {**protocol("fd"), "num_samples": "many"}}},
            ("about.json: the protocol of fd is left out (num_samples of a protocol is a whole number, not 'many')"),
        ),
        (
            {"protocols": {"fd": None}},
            "about.json: the protocol of fd is left out (a protocol is a JSON object, not null)",
        ),
    ],
)
def test_a_broken_entry_is_left_out_and_named(document: dict[str, Any], problem: str) -> None:
    assert said(document) == About(problems=(problem,))


def test_a_broken_entry_does_not_take_the_sound_ones_with_it() -> None:
    found = said({"notes": {"a": 1, "b": ["x"]}, "protocols": {"a": protocol("a"), "b": {}}})
    assert found.notes == {"b": ("x",)}
    assert list(found.protocols) == ["a"]
    assert len(found.problems) == 2
