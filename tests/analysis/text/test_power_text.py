"""The difference that a sweep can find, in words and by simulation."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from analysis.plan.model import Primary
from analysis.records.record import Record
from analysis.results.intervals import SeedValue
from analysis.results.measurements import measure
from analysis.results.power import seeds_needed, smallest_difference
from analysis.results.sections import make_sections
from analysis.results.significance import compare_rows
from analysis.text.power_text import power_sentences
from tests.analysis.text.test_significance_text import Printed
from tests.support.plans import evaluate_digest, make_plan

FOUR_ROWS = {"p": ("a", "b", "c", "d")}


def test_the_plan_says_the_smallest_difference_and_the_seeds_that_are_needed() -> None:
    plan = make_plan(parts=FOUR_ROWS, seeds=(0, 1, 2))
    assert list(power_sentences(plan)) == [
        (
            "Difference between two of 4 rows (p), 3 seeds: 12% is found in 80% of sweeps; 10% needs 4 seeds (spread "
            "over seeds 3.0%, assumed, error of samples not counted)."
        )
    ]
    stated = replace(plan, seeds=(0,), primary=Primary("fd", difference=0.05, spread=0.02))
    assert list(power_sentences(stated)) == [
        (
            "Difference between two of 4 rows (p), 1 seed: one seed separates nothing; 5.0% needs 6 seeds (spread "
            "over seeds 2.0%, as `primary.spread` says, error of samples not counted)."
        )
    ]


def test_the_spread_of_what_is_measured_takes_the_place_of_an_assumed_one() -> None:
    plan = make_plan(parts={"p": ("a", "b")}, seeds=(0, 1, 2))
    values = {"a": (100.0, 100.0, 100.0), "b": (100.0, 110.0, 120.0)}
    records = {
        evaluate_digest(row, 200, seed): Record("done", {"fd": value, "accuracy": 0.5})
        for row, found in values.items()
        for seed, value in enumerate(found)
    }
    (sentence,) = power_sentences(plan, make_sections(plan, measure(plan, records), records))
    # By hand: residuals of -5, 0, 5 and 5, 0, -5 on two degrees of freedom: 7.07 of a mean of 105.
    assert "(spread over seeds 6.7%, as measured)" in sentence


def test_what_is_said_of_power_is_what_the_table_says() -> None:
    """The error of samples counts, and a spread that the sweep declares goes before that of the records."""
    logs = {"a": (4.60, 4.62, 4.61), "b": (4.63, 4.61, 4.60), "c": (4.60, 4.60, 4.64), "d": (4.59, 4.63, 4.61)}
    found = Printed(
        {row: [math.exp(value) for value in own] for row, own in logs.items()}, error=4.0, scales={"fd": "log"}
    )
    (sentence,) = power_sentences(found.plan, found.sections)
    said = re.search(r"differences below (\S+) are found", found.notes[0])
    assert said is not None
    assert f"3 seeds: {said[1]} is found in 80%" in sentence
    assert "and error of samples 5.6%" in sentence
    declared = replace(found.plan, primary=replace(found.plan.primary, spread=0.2))
    (sentence,) = power_sentences(declared, found.sections)
    assert "(spread over seeds 20%, as `primary.spread` says and error of samples 5.6%)" in sentence


def test_a_sweep_that_compares_no_rows_says_nothing() -> None:
    assert list(power_sentences(make_plan(parts={"p": ("a",)}))) == []


def test_one_seed_finds_nothing_and_more_seeds_find_more() -> None:
    assert smallest_difference(4, 1, 0.03, 1) is None
    found = [smallest_difference(4, number, 0.03, 1) or math.nan for number in (2, 3, 5, 8)]
    assert found == sorted(found, reverse=True)
    assert seeds_needed(4, found[2], 0.03, 1) == 5
    assert seeds_needed(4, 1e-6, 0.03, 1) is None


@pytest.mark.parametrize(("num_rows", "num_seeds"), [(2, 3), (4, 3), (8, 5)])
def test_the_smallest_difference_is_found_in_80_percent(num_rows: int, num_seeds: int) -> None:
    effect, generator, told = smallest_difference(num_rows, num_seeds, 0.03, 1), np.random.default_rng(1), 0
    assert effect is not None
    for _ in range(400):
        values = 0.03 * generator.standard_normal((num_rows, num_seeds))
        values[0] -= effect
        rows = {str(i): [SeedValue(seed, float(v)) for seed, v in enumerate(row)] for i, row in enumerate(values)}
        tests = compare_rows(rows, "linear", 1)
        assert tests is not None
        told += tests.difference("0", "1").is_beyond_noise
    assert told / 400 == pytest.approx(0.8, abs=0.1)
