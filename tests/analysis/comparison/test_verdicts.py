"""Verdicts against intervals computed by hand, and how often they are right over many made-up reproductions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from analysis.comparison.verdicts import ONE_SEED, Judge, Verdict
from analysis.contract.published_numbers import PublishedValue
from analysis.plan.model import Metric
from analysis.results.cells import Cell
from analysis.results.intervals import SeedValue
from analysis.results.significance import compare_rows
from analysis.results.standings import Standing


def cell(*values: float, error: float | None = None) -> Cell:
    seeds = tuple(SeedValue(seed, value, error) for seed, value in enumerate(values))
    return Cell("done", sum(values) / len(values), None, len(values), len(values), values=seeds)


def judge_of(
    better: str = "lower", scale: str = "linear", rows: Sequence[Cell] = (), *, claims: bool = True, verdicts: int = 1
) -> Judge:
    metric = Metric("fd", "FD", better, "", scale)  # type: ignore[arg-type]
    tests = compare_rows({str(index): row.values for index, row in enumerate(rows)}, metric.scale, 1)
    return Judge(Standing(metric, claims, tests=tests), 0.1, verdicts)


def verdict(ours: Cell, printed: str, rule: Judge | None = None, setting_difference: str = "") -> Verdict:
    found = (rule or judge_of()).judge("0", ours, PublishedValue(printed, "arxiv_v1"), setting_difference)
    assert found is not None
    return found


def test_the_interval_of_three_seeds_is_the_prediction_interval_by_hand() -> None:
    # Mean 200, deviation 1: 4.30265 sqrt(1 + 1/3) = 4.96828, and half of the last printed digit.
    ours = cell(199.0, 200.0, 201.0)
    found = verdict(ours, "198.0")
    assert (found.name, found.ratio) == ("within", pytest.approx(200 / 198))
    assert found.low == pytest.approx((200 - 4.96828 - 0.05) / 198, abs=1e-6)
    assert found.high == pytest.approx((200 + 4.96828 + 0.05) / 198, abs=1e-6)
    assert [verdict(ours, printed).name for printed in ("120.0", "183.0", "220.0", "300.0")] == [
        "worse",
        "worse",
        "better",
        "better",
    ]


def test_a_result_of_two_and_a_half_times_the_papers_is_not_the_papers() -> None:
    for scale in ("linear", "log"):
        found = verdict(cell(9.0, 11.0), "4.0", judge_of(scale=scale))
        assert found.name == "cannot tell"
        assert found.ratio == pytest.approx(2.5, abs=0.02)
        assert found.low is not None
        assert found.high is not None
        assert found.low < 1
        assert found.high > 4


def test_one_seed_never_tells_however_small_the_error_of_its_samples() -> None:
    found = verdict(cell(10.0, error=0.001), "5.0")
    assert (found.name, found.reason) == ("cannot tell", ONE_SEED)


def test_a_distance_is_judged_by_its_ratio() -> None:
    # Logarithms 0, 0.02, 0.04: deviation 0.02; 4.30265 * 0.02 * sqrt(4/3) = 0.099365.
    ours = cell(*(math.exp(one) for one in (0.0, 0.02, 0.04)))
    found = verdict(ours, "1.0000000", judge_of(scale="log"))
    assert found.low == pytest.approx(math.exp(0.02 - 0.099365), abs=1e-4)
    assert found.high == pytest.approx(math.exp(0.02 + 0.099365), abs=1e-4)


def test_the_spread_is_pooled_over_rows_with_the_same_seeds() -> None:
    generator = np.random.default_rng(5)
    rows = [cell(*map(float, 100 + generator.standard_normal(3))) for _ in range(6)]
    pooled, alone = verdict(rows[0], "100.000", judge_of(rows=rows)), verdict(rows[0], "100.000")
    assert None not in (pooled.low, pooled.high, alone.low, alone.high)
    assert pooled.high - pooled.low < alone.high - alone.low  # type: ignore[operator]


@pytest.mark.parametrize(("better", "names"), [("lower", ("worse", "better")), ("higher", ("better", "worse"))])
def test_better_is_in_the_direction_of_the_metric(better: str, names: tuple[str, str]) -> None:
    ours = cell(10.0, 10.01)
    assert (verdict(ours, "5.0", judge_of(better)).name, verdict(ours, "15.0", judge_of(better)).name) == names


def test_more_verdicts_make_a_difference_harder_to_claim_and_leave_the_margin() -> None:
    ours = cell(118.0, 120.0, 122.0)
    assert [verdict(ours, "100.0", judge_of(verdicts=number)).name for number in (1, 20)] == ["worse", "cannot tell"]
    assert verdict(ours, "121.0", judge_of(verdicts=20)).name == "within"


def test_a_metric_that_makes_no_claims_has_a_ratio_alone() -> None:
    found = verdict(cell(10.0, 10.01), "5.0", judge_of(claims=False))
    assert (found.name, found.ratio) == ("exploratory", pytest.approx(2.001))


@pytest.mark.parametrize(
    ("ours", "setting_difference", "reason"),
    [
        (cell(1.0, error=0.1), "10,000 samples, the paper's 50,000", "10,000 samples, the paper's 50,000"),
        (Cell("missing"), "guidance 1, the paper's 1.5", "guidance 1, the paper's 1.5"),
        (cell(math.nan, error=0.1), "", "our value is nan"),
        (cell(math.inf, 1.0), "", "our value is inf"),
    ],
)
def test_what_does_not_compare_says_why(ours: Cell, setting_difference: str, reason: str) -> None:
    assert verdict(ours, "1.0", setting_difference=setting_difference) == Verdict("not comparable", reason)


def test_without_any_error_one_cannot_tell() -> None:
    assert verdict(cell(1.0), "1.0").name == "cannot tell"


@pytest.mark.parametrize("status", ["missing", "running", "failed"])
def test_a_cell_without_a_value_has_no_verdict(status: str) -> None:
    assert judge_of().judge("0", Cell(status), PublishedValue("1.0", "arxiv_v1"), "") is None  # type: ignore[arg-type]


def share_of(outcomes: set[str], truth: float, num_seeds: int) -> float:
    """Share of 1,000 made-up papers, whose one run is `truth` times ours in the mean, with these outcomes."""
    generator, counted = np.random.default_rng(8), 0
    for _ in range(1000):
        logs = 0.03 * (generator.standard_normal((1, num_seeds)) + generator.standard_normal((4, num_seeds)))
        rows = [cell(*map(float, 100 * np.exp(row))) for row in logs]
        paper = 100 * truth * math.exp(0.03 * math.sqrt(2) * generator.standard_normal())
        counted += verdict(rows[0], f"{paper:.6f}", judge_of(scale="log", rows=rows)).name in outcomes
    return counted / 1000


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_a_faithful_reproduction_is_seldom_said_to_differ(num_seeds: int) -> None:
    assert share_of({"better", "worse"}, 1.0, num_seeds) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("num_seeds", [2, 3, 8])
def test_a_paper_beyond_the_margin_is_seldom_said_to_be_within(num_seeds: int) -> None:
    assert share_of({"within"}, 1.12, num_seeds) <= 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1000)
