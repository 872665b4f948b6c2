"""The trials of a search in their order."""

from __future__ import annotations

from orchestration.spec.search.trial import SearchTrial, best_first, pareto_front


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
