"""Sentences on what is best and separable, each of those that could be false among them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from analysis.plan.read import parse_plan
from analysis.records.record import Record
from analysis.report.cell_csv import cell_csv
from analysis.results.measurements import measure
from analysis.results.sections import Section, make_sections
from analysis.text.significance_text import claim_sentences, claims_legend, standing_notes
from analysis.text.text_tables import make_text_tables
from tests.support.plans import evaluate_digest, plan_document, train_digest

THREE = (0, 1, 2)
FOUR = (0, 1, 2, 3)
EXPLORATORY = "Exploratory, so that no row is called best or separable: label accuracy."
FAILED = None


class Printed:
    """A part as it is printed. Values of None are seeds that failed."""

    def __init__(
        self,
        values: Mapping[str, Sequence[float | None]],
        seeds: Sequence[int] = THREE,
        error: float = 0.0,
        metric: str = "fd",
        scales: Mapping[str, str] | None = None,
        **primary: Any,
    ) -> None:
        document = plan_document(parts={"p": tuple(values)}, seeds=seeds)
        document["primary"] = {
            "metric": metric, "parts": [], "baseline": None, "difference": 0.1, "spread": None, "declared": True,
            **primary,
        }  # fmt: skip
        document["metrics"] = [
            {**card, "scale": (scales or {}).get(card["name"], "linear")} for card in document["metrics"]
        ]
        self.plan = parse_plan(json.dumps(document))
        errors = {"fd_standard_error": error, "accuracy_standard_error": error} if error else {}
        records = {}
        for row, found in values.items():
            for seed, value in zip(seeds, found, strict=False):
                if value is FAILED:
                    records[train_digest(row, seed)] = Record("failed")
                else:
                    records[evaluate_digest(row, 200, seed)] = Record(
                        "done", {"fd": value, "accuracy": value, **errors}
                    )
        self.sections = make_sections(self.plan, measure(self.plan, records), records)

    @property
    def section(self) -> Section:
        return self.sections[0]

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(claim_sentences(self.plan, self.section))

    @property
    def bold(self) -> list[str]:
        (table,) = make_text_tables(self.plan, self.sections)
        return [row[0].text for row in table.rows if any(cell.best for cell in row)]

    def csv(self, row: str, metric: str = "fd") -> Mapping[str, str]:
        lines = csv.DictReader(io.StringIO(cell_csv(self.section, None)))
        return next(line for line in lines if (line["row"], line["metric"]) == (row, metric))


def test_what_is_not_separable_is_named_with_the_difference_that_is_found() -> None:
    found = Printed({"a": (1.0, 1.1, 0.9), "b": (1.05, 0.9, 1.1), "c": (9.0, 9.1, 8.91)})
    assert found.notes == (
        (
            "FD-Lite0: not separable from the best (a): b (by 3 seeds in common); differences below 0.46 are found in "
            "less than 80% of such sweeps."
        ),
    )
    assert standing_notes(found.plan, found.section)[-1] == EXPLORATORY


def test_rows_that_all_differ_are_separable() -> None:
    found = Printed({"a": (1.0, 1.1, 0.9), "b": (5.05, 4.9, 5.1), "c": (9.0, 9.1, 8.91)})
    assert found.notes == ("FD-Lite0: the best (a) is separable from all others (by 3 seeds in common).",)
    assert found.bold == ["a"]


@pytest.mark.parametrize("values", [(1.0, 1.1, math.nan), (1.0, 1.1, math.inf), (FAILED, FAILED, FAILED)])
def test_a_row_without_a_finite_value_is_named_and_not_among_all_others(values: Sequence[float | None]) -> None:
    found = Printed({"a": (5.0, 5.1, 4.9), "b": (9.0, 9.3, 8.8), "c": values})
    assert "FD-Lite0: not compared with the others, for want of a finite value: c." in found.notes
    assert (
        "FD-Lite0: the best (a) is separable from all others that are compared (by 3 seeds in common)." in found.notes
    )
    assert found.csv("c")["num_common_seeds"] == "0"


def test_failures_of_the_others_do_not_make_a_row_that_failed_best() -> None:
    values = {"a": (1.0, 1.01, FAILED, FAILED), "b": (2.0, 2.02, 2.01, FAILED)}
    found = Printed(values, FOUR)
    assert found.bold == []
    assert "FD-Lite0: no row is called best: a would be, and failed at other seeds." in found.notes
    alike = Printed({"a": (1.0, 1.01, 1.0, FAILED), "b": (2.0, 2.02, 2.01, FAILED)}, FOUR)
    assert alike.bold == ["a"], "all failed at the same seed"


def test_numbers_of_any_size_are_compared() -> None:
    found = Printed({"a": (1e-200, 2e-200, 1e-200), "b": (1e149, 1e149, 2e149)}, scales={"fd": "log"})
    assert float(found.csv("b")["interval_high"]) > 1e300


def test_a_row_that_loses_at_every_common_seed_is_not_best() -> None:
    values = {"A": (5.0, 5.1, 5.05, FAILED), "B": (4.0, 4.11, 4.04, 9.9), "C": (FAILED, FAILED, FAILED, 8.0)}
    found = Printed(values, FOUR)
    assert found.bold == []
    assert found.notes == (
        "FD-Lite0: not compared with the others, for want of common seeds: C.",
        (
            "FD-Lite0: no row is called best: by the 3 seeds that all compared rows have it would be B, by whichever "
            "seeds a row has A."
        ),
        "FD-Lite0: means leave out seeds that failed, which may be the hard ones: A (3 of 4), C (1 of 4).",
    )
    assert (found.csv("A")["best"], found.csv("A")["separable_from_best"]) == ("no", "")
    assert found.csv("C")["num_common_seeds"] == "0"


def test_a_row_that_failed_at_hard_seeds_is_not_called_best() -> None:
    found = Printed({"a": (1.0, 1.1, FAILED), "b": (2.0, 2.1, 2.0), "c": (3.0, 3.1, 3.0)})
    assert found.bold == []
    assert found.notes[0] == "FD-Lite0: no row is called best: a would be, and failed at other seeds."


def test_one_seed_separates_nothing_however_small_the_error_of_samples() -> None:
    found = Printed({"a": (1.0,), "b": (1.1,), "c": (9.0,)}, (0,), error=0.1)
    assert found.notes == (
        (
            "FD-Lite0: beyond the noise of samples from the best (a): c; within it: b. One seed: what other seeds "
            "would give is unknown, so nothing is separable."
        ),
    )
    assert found.csv("c")["separable_from_best"] == "no"
    unknown = Printed({"a": (1.0,), "b": (2.0,)}, (0,))
    assert unknown.notes == (
        "FD-Lite0: one seed, and no error of samples is known: nothing can be told apart from the best (a).",
    )


@pytest.mark.parametrize("seeds", [(0, 1), THREE])
def test_accuracies_that_are_all_but_one_sample_alike_are_not_separable(seeds: Sequence[int]) -> None:
    values = {"a": (1.0,) * len(seeds), "b": (299 / 300,) * len(seeds)}
    found = Printed(values, seeds, metric="accuracy", scales={"accuracy": "share"})
    assert "not separable from the best (a): all other rows" in found.notes[0]
    (table,) = make_text_tables(found.plan, found.sections)
    assert table.rows[0][2].text == f"1.0000 ± 0.0076 (n={len(seeds)})"
    assert 0.05 < float(found.csv("b", "accuracy")["adjusted_p"]) <= 1


def test_accuracies_near_one_are_seldom_told_apart() -> None:
    """200 parts of eight rows at 0.998 with two seeds; 59% of them had a separable row."""
    generator, wrong = np.random.default_rng(0), 0
    for _ in range(200):
        values = generator.binomial(300, 0.998, (8, 2)) / 300
        rows = {str(index): tuple(map(float, row)) for index, row in enumerate(values)}
        section = Printed(rows, (0, 1), metric="accuracy", scales={"accuracy": "share"}).section
        standing = section.standings[1]
        wrong += any(standing.is_separable(one) for one in standing.from_best)
    assert wrong / 200 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


def test_only_the_primary_metric_makes_claims() -> None:
    found = Printed({"a": (1.0, 1.1, 0.9), "b": (5.05, 4.9, 5.1)}, metric="accuracy")
    assert found.notes == ("label accuracy: the best (b) is separable from all others (by 3 seeds in common).",)
    line = found.csv("a", "fd")
    assert (line["claim"], line["best"], line["adjusted_p"], line["separable_from_best"]) == (
        "exploratory",
        "no",
        "",
        "",
    )
    assert (line["reference"], line["difference"]) == ("b", str(1.0 - 5.016666666666667))


def test_a_part_that_is_not_declared_makes_no_claims() -> None:
    found = Printed({"a": (1.0, 1.1, 0.9), "b": (5.05, 4.9, 5.1)}, parts=["another"])
    assert (found.notes, found.bold) == ((), [])


def test_a_baseline_takes_the_place_of_the_best_in_differences() -> None:
    found = Printed({"a": (1.0, 1.1, 0.9), "b": (5.05, 4.9, 5.1)}, baseline="b")
    assert (found.csv("a")["reference"], found.csv("a")["difference_from_best"]) == ("b", "")
    assert float(found.csv("a")["interval_high"]) < 0


def test_rows_within_the_smallest_difference_that_matters_are_said_to_be_so() -> None:
    values = {"a": (100.0, 110.0, 90.0), "b": (101.0, 110.5, 91.0), "c": (150.0, 161.0, 140.0)}
    found = Printed(values, scales={"fd": "log"})
    assert "FD-Lite0: no practical difference from the best (a), within 10%: b." in found.notes


@pytest.mark.parametrize("values", [{"a": (1.0, 1.0, 1.0)}, {"a": (1.0, 1.0, 1.0), "b": (1.0, 1.0, 1.0)}, {"a": ()}])
def test_without_a_best_row_there_is_nothing_to_say(values: Mapping[str, Sequence[float]]) -> None:
    assert Printed(values).notes == ()


def test_the_legend_counts_the_families_of_claims() -> None:
    found = Printed({"a": (1.0,), "b": (2.0,)}, (0,))
    assert "FD-Lite0 (which the sweep declares)" in claims_legend(found.plan)
    assert "over one family of comparisons" in claims_legend(found.plan)
    undeclared = parse_plan(json.dumps(plan_document(parts={"p": ("a", "b"), "q": ("a", "c"), "r": ("d",)})))
    assert "the sweep's first; `primary:` declares another" in claims_legend(undeclared)
    assert "over 2 families" in claims_legend(undeclared)
