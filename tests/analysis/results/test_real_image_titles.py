"""Titles of floors that can be told apart."""

from __future__ import annotations

from dataclasses import replace

from analysis.plan.model import FloorTask
from analysis.plan.protocol import parse_protocol
from analysis.results.real_image_titles import real_image_titles
from tests.support.plans import protocol


def floor(digest: str, title: str = "real", **changes: object) -> FloorTask:
    return FloorTask(digest, title, {"fd": parse_protocol(protocol("fd", **changes))})


def titles(*floors: FloorTask) -> list[str]:
    return list(real_image_titles({task.digest: task for task in floors}).values())


def test_titles_that_differ_stay_as_they_are() -> None:
    assert titles(floor("a", "one"), floor("b", "two")) == ["one", "two"]


def test_alike_titles_say_what_differs() -> None:
    assert titles(
        floor("a", num_samples=500), floor("b", num_samples=10_000, label_sampling="uniform"), floor("c", "other")
    ) == ["real; num_samples 500, label_sampling balanced", "real; num_samples 10,000, label_sampling uniform", "other"]


def test_values_that_look_alike_are_shown_in_full() -> None:
    found = titles(floor("a", reference="ab" * 32), floor("b", reference="ab" * 31 + "cd"))
    assert len(set(found)) == 2


def test_floors_that_differ_in_nothing_that_is_shown_have_their_digest() -> None:
    same = floor("0123456789abcdef")
    other = replace(same, digest="fedcba9876543210")
    assert titles(same, other) == ["real; 01234567", "real; fedcba98"]
    floors = {task.digest: task for task in (same, other)}
    alike = real_image_titles(floors, dict.fromkeys(floors, ("a",)))
    assert list(alike.values()) == ["real; 01234567", "real; fedcba98"]


def test_floors_that_differ_in_nothing_that_is_shown_are_named_by_their_rows() -> None:
    floors = {task.digest: task for task in (floor("a"), floor("b"))}
    named = real_image_titles(floors, {"a": ["x"], "b": ["p", "q", "r", "s", "t"]})
    assert list(named.values()) == ["real; beside x", "real; beside p, q, r and 2 more"]


def test_a_metric_that_only_one_has_is_a_difference() -> None:
    one = floor("a")
    more = {**one.protocols, "is": parse_protocol(protocol("is"))}
    assert titles(one, replace(one, digest="b", protocols=more)) == ["real; metrics fd", "real; metrics fd is"]
