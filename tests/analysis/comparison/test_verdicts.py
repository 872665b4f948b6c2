"""Verdicts against intervals computed by hand, and how often they are right over many made-up reproductions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from analysis.comparison.verdicts import Verdict, judge
from analysis.contract.published_numbers import PublishedValue
from analysis.results.cells import Cell
from analysis.results.intervals import SeedValue


def cell(*values: float, error: float | None = None) -> Cell:
    seeds = tuple(SeedValue(seed, value, error) for seed, value in enumerate(values))
    return Cell("done", sum(values) / len(values), None, len(values), len(values), values=seeds)


def verdict(ours: Cell, printed: str, better: str = "lower", setting_difference: str = "") -> Verdict:
    found = judge(ours, PublishedValue(printed, "arxiv_v1"), better, setting_difference)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_the_interval_of_three_seeds_is_the_prediction_interval_by_hand() -> None:
    # Mean 2, deviation 1: 4.30265 sqrt(1 + 1/3) = 4.96828, and half of the last printed digit.
    found = verdict(cell(1.0, 2.0, 3.0), "6.9")
    assert found.half_width == pytest.approx(4.96828 + 0.05, abs=1e-4)
    assert (found.name, found.reason) == ("reproduced", "")
    assert [verdict(cell(1.0, 2.0, 3.0), printed).name for printed in ("7.01", "6.97", "-2.96", "-3.01")] == [
        "better",
        "reproduced",
        "reproduced",
        "worse",
    ]


def test_one_seed_is_judged_by_its_samples_alone_and_the_verdict_says_so() -> None:
    # 1.95996 sqrt(2) 0.5 = 1.38590, and 0.005.
    found = verdict(cell(10.0, error=0.5), "11.39")
    assert found.half_width == pytest.approx(1.38590 + 0.005, abs=1e-4)
    assert (found.name, found.reason) == ("reproduced", "of one seed, by the error of samples alone")
    assert verdict(cell(10.0, error=0.5), "11.40").name == "better"


@pytest.mark.parametrize(("better", "names"), [("lower", ("worse", "better")), ("higher", ("better", "worse"))])
def test_better_is_in_the_direction_of_the_metric(better: str, names: tuple[str, str]) -> None:
    ours = cell(10.0, error=0.01)
    assert (verdict(ours, "5.0", better).name, verdict(ours, "15.0", better).name) == names


@pytest.mark.parametrize(
    ("ours", "setting_difference", "reason"),
    [
        (cell(1.0, error=0.1), "10,000 samples, the paper's 50,000", "10,000 samples, the paper's 50,000"),
        (Cell("missing"), "guidance 1, the paper's 1.5", "guidance 1, the paper's 1.5"),
        (cell(1.0), "", "the error of our value is not known"),
        (cell(math.nan, error=0.1), "", "our value is nan"),
        (cell(math.inf, 1.0), "", "our value is inf"),
    ],
)
def test_what_does_not_compare_says_why(ours: Cell, setting_difference: str, reason: str) -> None:
    assert verdict(ours, "1.0", setting_difference=setting_difference) == Verdict("not comparable", reason)


@pytest.mark.parametrize("status", ["missing", "running", "failed"])
def test_a_cell_without_a_value_has_no_verdict(status: str) -> None:
    assert judge(Cell(status), PublishedValue("1.0", "arxiv_v1"), "lower", "") is None  # type: ignore[arg-type]


@pytest.mark.parametrize("num_seeds", [2, 3, 10])
def test_a_faithful_reproduction_is_called_reproduced_in_95_percent(num_seeds: int) -> None:
    """3,000 made-up papers whose one run is drawn as ours are."""
    generator = np.random.default_rng(8)
    right = sum(
        verdict(cell(*map(float, ours)), f"{paper:.6f}").name == "reproduced"
        for ours, paper in zip(
            generator.standard_normal((3000, num_seeds)), generator.standard_normal(3000), strict=True
        )
    )
    assert right / 3000 == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 3000))
