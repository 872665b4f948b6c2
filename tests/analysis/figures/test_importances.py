"""Importances of keys, of functions whose answer is known."""

from __future__ import annotations

import random
from typing import Any

import pytest

from analysis.figures.importances import compute_importances, noise_shares

RANDOM = random.Random(7)
SETTINGS: list[dict[str, Any]] = [
    {"a": RANDOM.random(), "steps": RANDOM.choice([[1, 2], [3, 4]]), "idle": RANDOM.randrange(5), "same": 1}
    for _ in range(40)
]


def test_what_decides_the_value_has_nearly_all_importance_and_shares_sum_to_one() -> None:
    found = compute_importances(SETTINGS, [5 * one["a"] for one in SETTINGS])
    assert next(iter(found)) == "a"
    assert found["a"] > 0.9
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == {"a", "steps", "idle"}, "what never varies is left out"


def test_a_list_is_a_choice_and_the_answer_is_the_same_twice() -> None:
    values = [float(one["steps"] == [3, 4]) for one in SETTINGS]
    assert next(iter(compute_importances(SETTINGS, values))) == "steps"
    assert compute_importances(SETTINGS, values) == compute_importances(SETTINGS, values)


def test_there_is_no_answer_for_few_trials_one_value_or_no_common_key() -> None:
    assert compute_importances(SETTINGS[:19], [one["a"] for one in SETTINGS[:19]]) == {}
    assert compute_importances(SETTINGS, [1.0] * 40) == {}
    assert compute_importances([{str(index): 1} for index in range(40)], list(map(float, range(40)))) == {}
    assert compute_importances([], []) == {}


def test_what_noise_gives_stands_beside_a_share() -> None:
    values = [5 * one["a"] for one in SETTINGS]
    noise = noise_shares(SETTINGS, values)
    assert set(noise) == {"a", "steps", "idle"}
    assert noise["a"] < compute_importances(SETTINGS, values)["a"]
    assert max(noise.values()) > 0.3, "of random orders of forty values"
