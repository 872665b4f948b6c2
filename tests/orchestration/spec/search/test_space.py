"""The space of a search: what it means, and every mistake in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.searches import search_mistakes as mistakes
from tests.support.searches import sweep


def test_a_search_says_its_space_in_words(tmp_path: Path) -> None:
    space = """
        model.backbone: {choice: [dit, tokenformer]}
        model.lora_rank: {int: [0, 8], step: 4, when: {model.backbone: dit}}
        training.learning_rate: {log: [1.0e-4, 1.0e-2]}
        sampling.tau: {uniform: [0.5, 0.9], step: 0.1}
        sampling.steps: {choice: [[9, 3], [6, 6]]}"""
    (search,) = sweep(tmp_path, space).searches
    assert list(map(str, search.spec.parameters)) == [
        'model.backbone: one of "dit", "tokenformer"',
        'model.lora_rank: int 0 to 8 by 4, when model.backbone is "dit"',
        "training.learning_rate: log 0.0001 to 0.01",
        "sampling.tau: uniform 0.5 to 0.9 by 0.1",
        "sampling.steps: one of [9, 3], [6, 6]",
    ]
    points = {parameter.key: parameter.points for parameter in search.spec.parameters}
    assert points["model.lora_rank"] == (0, 4, 8)
    assert points["sampling.tau"] == (0.5, 0.6, 0.7, 0.8, 0.9)
    assert points["sampling.steps"] == ([9, 3], [6, 6])
    assert points["training.learning_rate"] is None


def test_a_parameter_is_read_only_when_its_conditions_hold(tmp_path: Path) -> None:
    space = """
        sampling.steps: {choice: [[9, 3], [6, 6], [3, 3]]}
        sampling.tau: {uniform: [0.5, 0.9], when: {sampling.steps: [[9, 3], [3, 3]]}}
        sampling.guidance: {uniform: [1.0, 2.0], when: {sampling.steps: [6, 6]}}"""
    (search,) = sweep(tmp_path, space).searches
    _, tau, guidance = search.spec.parameters
    assert tau.is_read({"sampling.steps": [3, 3]})
    assert not tau.is_read({"sampling.steps": [6, 6]})
    assert guidance.is_read({"sampling.steps": [6, 6]})
    assert not guidance.is_read({})


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        ("training.learning_rte: {log: [1.0e-4, 1.0e-2]}", "did you mean 'training.learning_rate'?"),
        ("location: {uniform: [0, 1]}", "did you mean 'training.location' or 'training.previous_location'?"),
        ("lr: {log: [1.0e-4, 1.0e-2]}", "did you mean 'training.learning_rate'?"),
        ("training: {log: [1.0e-4, 1.0e-2]}", "is a section; give one of its keys, e.g. training.steps"),
        ("evaluation.num_samples: {int: [10, 20]}", "it has to be the same for all of them"),
        ("seed: {int: [0, 9]}", "it has to be the same for all of them"),
        ("sampling.tau: 0.7", "must be a mapping with one of uniform, log, int, choice"),
        ("sampling.tau: {unifrom: [0.5, 0.9]}", "did you mean 'uniform'?"),
        ("sampling.tau: {uniform: [0.5, 0.9], log: [0.5, 0.9]}", "give exactly one of"),
        ("sampling.tau: {uniform: [0.9, 0.5]}", "the first must be less than the second"),
        ("sampling.tau: {uniform: [0.5]}", "must be the lowest and the highest number"),
        ("sampling.tau: {log: [0.0, 0.5]}", "must be greater than 0"),
        ("sampling.tau: {uniform: [0.5, 0.9], step: 0.3}", "does not lead from 0.5 to 0.9"),
        ("sampling.tau: {log: [0.5, 0.9], step: 0.1}", "a logarithmic range has none"),
        ("sampling.tau: {uniform: [0.5, 1.9]}", "parts.p.search.space.sampling.tau.0: 1.9 should be less than"),
        ("model.lora_rank: {int: [0, 8.5]}", "must be whole numbers"),
        ("model.backbone: {choice: [dit, tokenfromer]}", "did you mean 'tokenformer'?"),
        ("model.backbone: {choice: []}", "must be a list of values"),
        ("model.backbone: {choice: [dit, dit]}", "has a value twice"),
        ("model.backbone: {choice: [dit], step: 1}", "a choice has none"),
        ("sampling.tau: {uniform: [0.5, 0.9], when: {sampling.step: 1}}", "is not in the space"),
        ("sampling.tau: {uniform: [0.5, 0.9], when: 5}", "must be a mapping of a key"),
    ],
)
def test_a_mistake_in_a_parameter_is_told_with_its_reason(tmp_path: Path, parameter: str, expected: str) -> None:
    assert expected in mistakes(tmp_path, f"\n        {parameter}")


def test_a_condition_names_a_choice_before_it_and_a_value_that_this_can_have(tmp_path: Path) -> None:
    space = """
        sampling.guidance: {uniform: [1.0, 2.0], when: {model.backbone: dit}}
        model.backbone: {choice: [dit, tokenformer]}
        sampling.tau: {uniform: [0.5, 0.9], when: {model.backbone: dti}}
        sampling.time_shift: {uniform: [1.0, 2.0], when: {sampling.tau: 0.5}}"""
    text = mistakes(tmp_path, space)
    assert "guidance: when: 'model.backbone' is given after it" in text
    assert """tau: when: 'model.backbone' is never "dti"; it is one of "dit", "tokenformer\"""" in text
    assert "time_shift: when: 'sampling.tau' is given after it, or is wrong" in text
