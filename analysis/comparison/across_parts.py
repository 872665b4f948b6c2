"""Rows that stand in several parts, over all of them: how they differ, how often they win, how far they are from best.

Parts are what other benchmarks call tasks: the same methods without and with guidance, on two data sets, at two sizes.
Ratios are taken within a part and a seed, so that parts of other units weigh alike (Agarwal et al., 2021); metrics that
are not compared by ratios, such as shares, differ in their own unit. Intervals are by seeds: each seed's mean over
parts is one value, since seed k of two parts may be one training, or have its noise. A bootstrap within each part would
count them as independent (docs/statistics.md says how often each holds the truth). Errors of samples are added as if
rows had noise of their own, which is too wide. Estimates by the primary metric; no claim is made by them. Pure.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.comparison.row_ranks import rank_values
from analysis.plan.model import Metric, Part, PublishedPlan
from analysis.results.best_row import largest_block
from analysis.results.cells import interquartile_mean, probability_of_improvement
from analysis.results.intervals import SeedValue
from analysis.results.sections import Section
from analysis.results.significance import Difference, RowTests, compare_rows, ratio_of

Array = np.ndarray


@dataclass(frozen=True)
class RowAcrossParts:
    """A row over all parts that it stands in."""

    label: str
    difference: Difference | None
    """Difference from the reference row of the means over parts; None of the reference row itself."""
    probability_of_improvement: float | None
    """Mean over parts of the share of pairs of runs in which it is better than the reference row."""
    interquartile_mean: float | None
    """Mean of the middle half of its ratios to the reference row, or differences, at each part and seed; None below
    four."""
    mean_rank: float
    """Mean over parts and seeds, 1 the best."""


@dataclass(frozen=True)
class AcrossParts:
    """Rows over the parts and seeds that all of them have."""

    metric: Metric
    parts: tuple[Part, ...]
    seeds: tuple[int, ...]
    reference: str
    is_log: bool
    """True if rows differ by ratios, else by differences."""
    rows: tuple[RowAcrossParts, ...]
    values: Mapping[str, Array]
    """By row, [P, N]: logarithms if `is_log`."""
    left_out: tuple[str, ...] = ()
    """Rows that stand in two parts or more and are not compared, since they lack one of these parts or seeds."""
    other_parts: tuple[Part, ...] = ()
    """Parts that claims are made of, and that are not among these."""

    @property
    def distances_from_best(self) -> Mapping[str, Array]:
        """Return how far each run is from the best row's at the same part and seed, by row, [P, N]: 0 or more.

        Logarithms of ratios if `is_log`, else differences.
        """
        sign = 1.0 if self.metric.better == "lower" else -1.0
        signed = {row: sign * values for row, values in self.values.items()}
        best = np.min(np.stack([*signed.values()]), axis=0)
        return {row: values - best for row, values in signed.items()}


def compare_across_parts(plan: PublishedPlan, sections: Sequence[Section]) -> AcrossParts | None:
    """Compare the rows that most parts share; None if no two rows stand in two parts, or have a seed in common."""
    tests: dict[int, RowTests] = {}
    for number, section in enumerate(sections):
        for standing in section.standings:
            if standing.makes_claims and standing.tests is not None:
                tests[number] = standing.tests
    standing_in: dict[str, list[SeedValue]] = {}
    for number, one in tests.items():
        for row in one.block.rows:
            standing_in.setdefault(row, []).append(SeedValue(number, 0.0))
    block = largest_block(standing_in)  # of rows and parts, which are chosen as rows and seeds are
    if block is None or len(block.seeds) < 2:
        return None
    chosen = [tests[number] for number in block.seeds]
    if len({one.is_log for one in chosen}) > 1:
        return None  # a value of zero in one part has no ratio, and differences of parts do not weigh alike
    seeds = tuple(sorted(frozenset.intersection(*(frozenset(one.block.seeds) for one in chosen))))
    if not seeds:
        return None
    metric = next(metric for metric in plan.metrics if metric.name == plan.primary.metric)
    parts = tuple(sections[number].part for number in block.seeds)
    others = tuple(
        section.part
        for number, section in enumerate(sections)
        if plan.claims_in(section.part) and number not in block.seeds
    )
    in_parts = Counter(row.label for section in sections if plan.claims_in(section.part) for row in section.rows)
    left_out = tuple(row for row, number in in_parts.items() if number > 1 and row not in block.rows)
    found = _compare(plan, metric, parts, seeds, block.rows, chosen)
    return replace(found, left_out=left_out, other_parts=others)


def _compare(
    plan: PublishedPlan,
    metric: Metric,
    parts: tuple[Part, ...],
    seeds: tuple[int, ...],
    labels: Sequence[str],
    tests: Sequence[RowTests],
) -> AcrossParts:
    is_log = all(one.is_log for one in tests)
    measured = {row: [[_at(one, row, seed) for seed in seeds] for one in tests] for row in labels}  # by row, part, seed
    across = average_over_parts(measured, is_log=is_log)
    values = {row: _values(own, is_log=is_log) for row, own in measured.items()}
    reference = _reference(plan, metric, labels, values)
    ranks = rank_values(np.stack([values[row].ravel() for row in labels]), metric.better).mean(axis=1)
    rows = []
    for row, mean_rank in zip(labels, map(float, ranks), strict=True):
        if row == reference:
            rows.append(RowAcrossParts(row, None, None, None, mean_rank))
            continue
        improved = [
            probability_of_improvement([*theirs], [*ours], metric.better)
            for ours, theirs in zip(values[row], values[reference], strict=True)
        ]
        gains = (values[row] - values[reference]).ravel()
        middle = interquartile_mean([ratio_of(gain) if is_log else float(gain) for gain in gains])
        difference = across.difference(reference, row)
        rows.append(RowAcrossParts(row, difference, math.fsum(improved) / len(improved), middle, mean_rank))
    return AcrossParts(metric, parts, seeds, reference, is_log, tuple(rows), values)


def average_over_parts(measured: Mapping[str, Sequence[Sequence[SeedValue]]], *, is_log: bool) -> RowTests:
    """Prepare the comparison of rows by each seed's mean over parts.

    Args: measured: values by row, part and seed, the same parts and seeds for all. is_log: means are geometric.
    """
    averaged = {
        row: [_mean_over_parts(at, is_log=is_log) for at in zip(*own, strict=True)] for row, own in measured.items()
    }
    tests = compare_rows(averaged, "log" if is_log else "linear", 0)
    assert tests is not None, "all rows have the same seeds"
    return tests


def _at(tests: RowTests, row: str, seed: int) -> SeedValue:
    return tests.seed_values[row][tests.block.seeds.index(seed)]


def _values(own: Sequence[Sequence[SeedValue]], *, is_log: bool) -> Array:
    values = np.array([[value.value for value in part] for part in own])
    return np.log(values) if is_log else values


def _mean_over_parts(at: Sequence[SeedValue], *, is_log: bool) -> SeedValue:
    """Return a seed's mean over parts; its error as if parts had their noise in common."""
    mean = math.fsum(math.log(one.value) if is_log else one.value for one in at) / len(at)
    mean = math.exp(mean) if is_log else mean
    unit = mean if is_log else 1.0  # errors of a geometric mean are shares of it
    errors = [
        one.standard_error / (one.value if is_log else 1.0) * unit for one in at if one.standard_error is not None
    ]
    return SeedValue(at[0].seed, mean, math.fsum(errors) / len(errors) if errors else None)


def _reference(plan: PublishedPlan, metric: Metric, labels: Sequence[str], values: Mapping[str, Array]) -> str:
    """Return the baseline, or else the row that is best over all parts."""
    if plan.primary.baseline in labels and plan.primary.baseline is not None:
        return plan.primary.baseline
    sign = 1.0 if metric.better == "lower" else -1.0
    return min(labels, key=lambda row: sign * float(values[row].mean()))
