"""`search:` in a sweep file: what it means, and every mistake in it at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestration.common.errors import UserError
from orchestration.spec.load import load_sweep
from orchestration.spec.search_section import LimitConfig
from orchestration.spec.search_trial import SearchTrial, best_first, pareto_front
from tests.support.searches import METRIC, SPACE, sweep


def mistakes(folder: Path, space: str = SPACE, **search: str) -> str:
    with pytest.raises(UserError) as caught:
        sweep(folder, space, **search)
    return str(caught.value)


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


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("objectives", "{fd_lite_block10: minimize}", "did you mean 'fd_lite0_block10'?"),
        ("objectives", "{}", "0 objectives; 1 can be given"),
        ("objectives", f"{{{METRIC}: maximize}}", "'minimize' is the better direction"),
        ("objectives", f"{{{METRIC}: minimise}}", "did you mean 'minimize'?"),
        ("objectives", "{num_evaluations: minimize}", "one of them must be a metric"),
        ("objectives", f"{{{METRIC}: minimize, num_evaluations: minimize}}", "two need `sampler: nsga2`"),
        ("objectives", "{fd_lite0_head: minimize}", "it is not in evaluation.metrics"),
        ("sampler", "tep", "did you mean 'tpe'?"),
        ("sampler", "grid", "a grid needs a choice, whole numbers, or a range with a step"),
        ("sampler", "cmaes", "all of them ranges of numbers"),
        ("num_trials", "0", "0 should be greater than or equal to 1"),
        ("constraints", "{num_evaluations: {}}", "give at_most or at_least"),
        ("constraints", "{num_evaluation: {at_most: 4}}", "did you mean 'num_evaluations'?"),
        ("constraints", "{num_evaluations: {atmost: 4}}", "did you mean 'at_most'?"),
        ("constraints", "{num_evaluations: {at_most: 4, at_least: 5}}", "nothing is at least 5 and at most 4"),
        ("pruner", "{kind: median}", "must be steps of training in ascending order"),
        ("pruner", "{kind: asha, rungs: [350, 100]}", "must be steps of training in ascending order"),
        ("pruner", "{rungs: [100]}", "are given without a kind"),
        ("pruner", "{kind: hyperband, rungs: [100]}", "'hyperband' is not allowed"),
        ("inner", "{num_trials: 8}", "inner.space: must be a mapping of at least one key"),
        ("inner", "{num_trials: 8, space: {training.batch_size: {int: [1, 8]}}}", "belongs to the outer space"),
        ("inner", "{num_trials: 8, space: {sampling.tau: {uniform: [0.5, 0.9]}}}", "it belongs to inner.space"),
        ("inner", "{num_trials: 8, sampler: grid, space: {sampling.tau: {uniform: [0.5, 0.9]}}}", "a grid needs"),
        ("pruner", "{kind: asha, rungs: [99.5]}", "must be whole numbers of steps"),
        ("pruner", "{kind: asha, rungs: [10], rungs_in: epochs}", "rungs_in"),
        ("samplr", "tpe", "did you mean 'sampler'?"),
    ],
)
def test_a_mistake_in_a_search_is_told_with_its_reason(tmp_path: Path, key: str, value: str, expected: str) -> None:
    assert expected in mistakes(tmp_path, **{key: value})


def test_a_limit_on_a_metric_is_refused_where_it_would_not_be_heeded(tmp_path: Path) -> None:
    limit = {"constraints": "{label_accuracy: {at_least: 0.5}}"}
    assert sweep(tmp_path, sampler="tpe", **limit).searches
    assert "heeded by tpe and nsga2 alone, not by random" in mistakes(tmp_path, sampler="random", **limit)


def test_steps_that_follow_from_a_budget_cannot_be_searched(tmp_path: Path) -> None:
    space = "\n        training.steps: {int: [10, 20]}"
    assert "steps follow from compute.budget" in mistakes(tmp_path, space, part="compute: {budget: 1.0e+12}\n")


def test_the_same_search_in_two_parts_is_refused(tmp_path: Path) -> None:
    text = (tmp_path / "sweep.yaml") if sweep(tmp_path) else None
    assert text is not None
    search = text.read_text().split("  p:\n")[1]
    text.write_text(f"{text.read_text()}  q:\n{search}")
    with pytest.raises(UserError, match=r"parts\.q\.search: is the same search as that of p"):
        load_sweep(text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    space = "\n        sampling.tua: {uniform: [0.5, 0.9]}\n        training.learning_rate: {log: [0, 1]}"
    text = mistakes(tmp_path, space, num_trials="-1", pruner="{kind: asah}")
    for expected in ("sampling.tua", "log: [0, 1]", "num_trials: -1", "'asah' is not allowed"):
        assert expected in text


def test_what_changes_a_search_changes_its_digest_and_the_number_of_trials_does_not(tmp_path: Path) -> None:
    def digest(space: str = SPACE, **search: str) -> str:
        return sweep(tmp_path, space, **search).searches[0].digest

    same = digest()
    assert digest(num_trials="99") == same
    others = [
        digest(sampler="random"),
        digest(seed="1"),
        digest(SPACE.replace("0.95", "0.950001")),
        digest(objectives="{label_accuracy: maximize}"),
        digest(part="seeds: [1]\n"),
        digest(part="training: {batch_size: 16}\n"),
    ]
    assert len({same, *others}) == 7


def test_a_limit_says_by_how_much_it_is_broken() -> None:
    assert LimitConfig(at_most=40.0).excess(60.0) == 20.0
    assert LimitConfig(at_least=0.5).excess(0.75) == -0.25
    assert LimitConfig(at_least=1.0, at_most=2.0).excess(1.25) == -0.25


def trial(number: int, *values: float, **more: object) -> SearchTrial:
    return SearchTrial(number, {}, "complete", values, **more)  # type: ignore[arg-type]


def test_the_front_holds_what_nothing_beats_and_stands_first() -> None:
    directions = ("minimize", "maximize")
    trials = [trial(0, 3.0, 1.0), trial(1, 1.0, 1.0), trial(2, 2.0, 5.0), trial(3, 2.0, 5.0), trial(4, 0.0, 9.0)]
    trials[4] = trial(4, 0.0, 9.0, violations=(0.1,))  # the best of all, and not allowed
    others = [SearchTrial(5, {}, "pruned", at_rungs={10: 0.0}), SearchTrial(6, {}), SearchTrial(7, {}, "refused")]
    assert [trial.number for trial in pareto_front([*trials, *others], directions)] == [1, 2, 3]
    assert [trial.number for trial in best_first([*trials, *others], directions)] == [1, 2, 3, 0, 4, 6, 5]


def test_with_one_objective_the_best_come_first_the_largest_where_maximized() -> None:
    trials = [trial(0, 1.0), trial(1, 3.0), trial(2, 2.0)]
    assert [trial.number for trial in best_first(trials, ("maximize",))] == [1, 2, 0]
    assert [trial.number for trial in pareto_front(trials, ("minimize",))] == [0]
