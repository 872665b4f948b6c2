"""Sentences on what is not separable from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from analysis.records.record import Record
from analysis.results.measurements import measure
from analysis.results.sections import make_sections
from analysis.text.significance_text import separation_notes
from tests.support.plans import evaluate_digest, make_plan

THREE = (0, 1, 2)


def notes(values: Mapping[str, Sequence[float]], seeds: Sequence[int] = THREE, error: float = 0.0) -> tuple[str, ...]:
    plan = make_plan(parts={"p": tuple(values)}, seeds=seeds)
    errors = {"fd_standard_error": error, "accuracy_standard_error": error} if error else {}
    records = {
        evaluate_digest(row, 200, seed): Record("done", {"fd": value, "accuracy": value, **errors})
        for row, found in values.items()
        for seed, value in zip(seeds, found, strict=False)
    }
    (section,) = make_sections(plan, measure(plan, records), records)
    return separation_notes(section)


def test_what_is_not_separable_is_named_for_each_metric() -> None:
    assert notes({"a": (1.0, 1.1, 0.9), "b": (1.05, 0.9, 1.1), "c": (9.0, 9.1, 8.91)}) == (
        "FD-Lite0: not separable from the best (a): b (by 3 common seeds).",
        "label accuracy: the best (c) is separable from all others (by 3 common seeds).",
    )


def test_metrics_that_say_the_same_stand_together() -> None:
    plan = make_plan(parts={"p": ("a", "b")}, seeds=THREE)
    records = {
        evaluate_digest(row, 200, seed): Record("done", {"fd": fd + seed / 50 * fd, "accuracy": 1 / fd})
        for row, fd in (("a", 1.0), ("b", 9.0))
        for seed in THREE
    }
    (section,) = make_sections(plan, measure(plan, records), records)
    assert separation_notes(section) == (
        "FD-Lite0, label accuracy: the best (a) is separable from all others (by 3 common seeds).",
    )


def test_of_one_seed_only_the_samples_speak() -> None:
    found = notes({"a": (1.0,), "b": (1.1,), "c": (2.0,)}, (0,), error=0.1)
    assert found[0] == (
        "FD-Lite0: not separable from the best (a): b (by the error of samples alone, and another seed may change it)."
    )


def test_where_nothing_is_separable_the_sentence_says_so() -> None:
    assert notes({"a": (1.0,), "b": (2.0,)}, (0,))[0] == (
        "FD-Lite0: not separable from the best (a): all other rows (one seed, and no error of samples is known)."
    )


@pytest.mark.parametrize("values", [{"a": (1.0, 1.0, 1.0)}, {"a": (1.0, 1.0, 1.0), "b": (1.0, 1.0, 1.0)}, {"a": ()}])
def test_without_a_best_row_there_is_nothing_to_say(values: Mapping[str, Sequence[float]]) -> None:
    assert notes(values) == ()
