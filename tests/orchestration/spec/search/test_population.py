"""Decisions of population based training: known answers, the edges of the space, and what a mistaken sweep is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestration.spec.search.population import exploits_as_plain, exploits_at, read_exploits
from orchestration.spec.search.reader import read_search
from orchestration.spec.search.section import SearchSpec
from orchestration.spec.search.trial import Exploit, SearchTrial
from tests.support.searches import METRIC, search_mistakes

RATE, LOCATION = "training.learning_rate", "training.location"
SPACE: Mapping[str, Any] = {RATE: {"log": [1e-4, 1e-2]}, LOCATION: {"uniform": [-1.0, 1.0], "step": 0.25}}


def search_of(
    space: Mapping[str, Any] = SPACE, resample: float = 0.25, quantile: float = 0.25, seed: int = 0
) -> SearchSpec:
    scheduler = {"kind": "pbt", "first": 100, "num_rungs": 3, "resample": resample, "quantile": quantile}
    given = {"objectives": {METRIC: "minimize"}, "num_trials": 8, "seed": seed, "space": space}
    search, problems = read_search({**given, "trial_scheduler": scheduler}, "here")
    assert search is not None, problems
    return search


def members(count: int) -> dict[int, SearchTrial]:
    """Members at the first rung, the lower numbers better."""
    return {
        number: SearchTrial(number, {RATE: 1e-3, LOCATION: 0.25 * (number % 3)}, at_rungs={0: float(number)})
        for number in range(count)
    }


def test_the_worst_share_goes_on_from_as_many_best() -> None:
    found = exploits_at(search_of(), 0, members(8), range(8))
    assert set(found) == {6, 7}
    assert {exploit.donor for exploit in found.values()} <= {0, 1}
    for exploit in found.values():
        assert exploit.past == (members(8)[exploit.donor].settings,)


@pytest.mark.parametrize(("count", "quantile", "expected"), [(2, 0.25, 1), (3, 0.5, 1), (5, 0.5, 2), (1, 0.5, 0)])
def test_nobody_is_among_the_best_and_the_worst(count: int, quantile: float, expected: int) -> None:
    found = exploits_at(search_of(quantile=quantile), 0, members(count), range(count))
    assert len(found) == expected
    assert not {exploit.donor for exploit in found.values()} & set(found)


def test_a_higher_value_is_worse_only_where_it_is_to_be_minimized() -> None:
    search = search_of()
    other = replace(search, config=replace(search.config, objectives={"label_accuracy": "maximize"}))
    assert set(exploits_at(other, 0, members(8), range(8))) == {0, 1}


def test_decisions_are_those_of_values_and_seed_whatever_the_order_of_the_members() -> None:
    there = members(8)
    found = exploits_at(search_of(), 0, there, range(8))
    assert exploits_at(search_of(), 0, dict(reversed(there.items())), [7, 6]) == found
    assert exploits_at(search_of(seed=1), 0, there, range(8)) != found


def test_only_members_that_have_come_to_the_rung_count() -> None:
    there = {**members(4), 9: SearchTrial(9, {RATE: 1e-3, LOCATION: 0.0})}
    assert set(exploits_at(search_of(), 0, there, [3, 9])) == {3}


def test_settings_are_multiplied_and_stay_on_steps_and_within_the_space() -> None:
    exploits = [
        exploit
        for seed in range(40)
        for exploit in exploits_at(search_of(resample=0.0, seed=seed), 0, members(8), range(8)).values()
    ]
    assert {round(exploit.settings[RATE] / exploit.past[-1][RATE], 9) for exploit in exploits} == {0.8, 1.2}
    locations = [exploit.settings[LOCATION] for exploit in exploits]
    assert all(-1 <= value <= 1 and (4 * value).is_integer() for value in locations)


def test_a_value_that_multiplying_cannot_move_is_drawn_anew() -> None:
    space = {LOCATION: {"uniform": [-1.0, 1.0]}, RATE: {"log": [1e-3, 1e-2]}}
    there = {n: SearchTrial(n, {LOCATION: 0.0, RATE: 1e-3}, at_rungs={0: float(n)}) for n in range(8)}
    for exploit in exploits_at(search_of(space, resample=0.0), 0, there, range(8)).values():
        assert exploit.settings[LOCATION] != 0.0
        assert 1e-3 < exploit.settings[RATE] <= 1e-2


def test_a_choice_moves_to_its_neighbour() -> None:
    space = {RATE: {"choice": [0.001, 0.002, 0.004]}}
    there = {n: SearchTrial(n, {RATE: 0.002}, at_rungs={0: float(n)}) for n in range(8)}
    found = {
        exploit.settings[RATE]
        for seed in range(20)
        for exploit in exploits_at(search_of(space, 0.0, seed=seed), 0, there, range(8)).values()
    }
    assert found == {0.001, 0.004}
    at_end = {n: SearchTrial(n, {RATE: 0.004}, at_rungs={0: float(n)}) for n in range(8)}
    exploits = [exploits_at(search_of(space, 0.0, seed=seed), 0, at_end, range(8)) for seed in range(20)]
    assert {one.settings[RATE] for some in exploits for one in some.values()} == {0.001, 0.002, 0.004}


def test_stretches_are_those_of_the_training_that_was_taken_over() -> None:
    a, b, c = ({RATE: rate} for rate in (1e-3, 2e-3, 3e-3))
    assert SearchTrial(0, a).stretches(2) == (a, a, a)
    taken = SearchTrial(1, b, exploits={1: Exploit(0, (a, a), c)})
    assert taken.stretches(1) == (b, b)
    assert taken.stretches(2) == (a, a, c)
    assert taken.stretches(3) == (a, a, c, c)


def test_decisions_are_read_as_they_were_stored() -> None:
    found = exploits_at(search_of(), 0, members(8), range(8))
    exploits = {0: found[6], 2: replace(found[7], past=(found[7].past[0],) * 3)}
    assert read_exploits(exploits_as_plain(exploits), search_of()) == exploits


TAU, SIZE = "\n        sampling.tau: {uniform: [0.5, 0.9]}", "\n        model.size: {choice: [nano, micro]}"
LOCATIONS, NAMES = (f"\n        training.location: {kind}" for kind in ("{uniform: [0, 1]}", "{choice: [a, b]}"))


@pytest.mark.parametrize(
    ("space", "keys", "message"),
    [
        (TAU, {}, "space.sampling.tau: cannot change while a training goes on"),
        (SIZE, {}, "space.model.size: cannot change while a training goes on"),
        (LOCATIONS, {"num_trials": "1"}, "num_trials: 1 are no population"),
        (LOCATIONS, {"num_trials": "101"}, "pbt compares 101 trials as a whole, at most 100: give fewer num_trials"),
        (NAMES, {}, "a choice has to be among numbers"),
        (LOCATIONS, {"trial_scheduler": "{kind: pbt, first: 100, quantile: 0.7}"}, "quantile: 0.7"),
    ],
)
def test_mistakes_are_told_before_anything_starts(
    tmp_path: Path, space: str, keys: dict[str, str], message: str
) -> None:
    scheduler = {"trial_scheduler": "{kind: pbt, first: 100, num_rungs: 2}", "sampler": "random", **keys}
    assert message in search_mistakes(tmp_path, space, **scheduler)


def test_changes_of_a_training_are_never_given(tmp_path: Path) -> None:
    given = "training: {changes: [{after_step: 3, settings: []}]}\n"
    assert "training.changes: are decided by a search" in search_mistakes(tmp_path, part=given)
