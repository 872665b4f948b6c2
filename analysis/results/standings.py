"""How the rows of a part stand by each metric: the best one, and the differences from it. Pure.

Claims, which are that a row is best or separable, are made by the sweep's primary metric alone, and only in parts that
it declares. Any other metric has the same estimates and intervals, but no word: with six metrics and four parts of
equal rows some sentence would be false in most reports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analysis.contract.plan_schema import DEFAULT_MARGIN
from analysis.plan.model import Metric, Part, PublishedPlan
from analysis.results.best_row import BestChoice, choose_best
from analysis.results.cells import Cell
from analysis.results.comparability import Comparability
from analysis.results.significance import Difference, RowTests, compare_rows


@dataclass(frozen=True)
class Standing:
    """The rows of a part by one metric."""

    metric: Metric
    makes_claims: bool
    """True for the primary metric, in a part that claims are made of."""
    smallest_that_matters: float = DEFAULT_MARGIN
    """Smallest difference that matters, as a share."""
    choice: BestChoice | None = None
    """The best row; None if rows do not compare, or none is best."""
    tests: RowTests | None = None
    """None if no two rows compare."""
    reference: str | None = None
    """Row that differences are from: the baseline, or the best by the primary metric; None without any."""
    differences: tuple[Difference, ...] = ()
    """Differences of the other rows from the reference row, in the table's order."""
    without_value: tuple[str, ...] = ()
    """Rows without a finite value: missing, failed at every seed, or no number at one."""

    @property
    def best(self) -> tuple[str, ...]:
        """Labels of the rows that are called best, several if they tie; empty if no claim is made."""
        return self.choice.rows if self.makes_claims and self.choice is not None and self.choice.agrees else ()

    @property
    def from_best(self) -> tuple[Difference, ...]:
        """Differences from the best row, the first of several; empty if none is called best."""
        if not self.best or self.tests is None:
            return ()
        return tuple(self.tests.difference(self.best[0], row) for row in self.tests.block.rows if row != self.best[0])

    def is_worse(self, difference: Difference) -> bool:
        """Return True if a row is worse than its reference row, by the estimate of the test."""
        return (difference.estimate > 0) == (self.metric.better == "lower") and difference.estimate != 0

    def is_separable(self, difference: Difference) -> bool:
        """Return True if a row may be called worse than the best: beyond all errors, over two seeds or more."""
        return (
            self.makes_claims and difference.num_seeds > 1 and difference.is_beyond_noise and self.is_worse(difference)
        )

    def is_equivalent(self, difference: Difference) -> bool:
        """Return True if the whole interval of a difference from the best lies within `primary.difference`."""
        return self.makes_claims and difference.num_seeds > 1 and difference.is_within(self.margin(difference))

    def margin(self, difference: Difference) -> float:
        """Return the smallest difference that matters, on the scale of the test."""
        if difference.is_log or self.tests is None:
            return math.log1p(self.smallest_that_matters)
        best = self.tests.seed_values[self.best[0]]
        return self.smallest_that_matters * abs(math.fsum(value.value for value in best) / len(best))


def make_standings(
    plan: PublishedPlan, part: Part, comparability: Sequence[Comparability], cells: Mapping[str, Sequence[Cell]]
) -> tuple[Standing, ...]:
    """Return the standing by each metric of the plan.

    Args: comparability: of the rows, by metric. cells: of each row in the table's order, one per metric.
    """
    standings = []
    for index, compared in enumerate(comparability):
        metric = compared.metric
        claims = metric.name == plan.primary.metric and plan.claims_in(part)
        rows = {label: own[index].values for label, own in cells.items() if own[index].finite}
        lacking = tuple(
            label for label, own in cells.items() if not own[index].finite and own[index].status != "not planned"
        )
        standing = Standing(metric, claims, plan.primary.difference, without_value=lacking)
        if compared.comparable:
            tests = compare_rows(rows, metric.scale, plan.num_families if claims else 0)
            failed = {label for label, own in cells.items() if own[index].unfinished == "failed"}
            standing = replace(standing, choice=choose_best(rows, metric.better, failed), tests=tests)
        standings.append(standing)
    reference = _reference(plan, part, standings)
    return tuple(_with_differences(standing, reference) for standing in standings)


def _reference(plan: PublishedPlan, part: Part, standings: Sequence[Standing]) -> str | None:
    """Return the baseline of a part, or else its best row by the primary metric."""
    if plan.primary.baseline in part.rows:
        return plan.primary.baseline
    primary = next((one for one in standings if one.metric.name == plan.primary.metric), None)
    return None if primary is None or primary.choice is None else primary.choice.rows[0]


def _with_differences(standing: Standing, reference: str | None) -> Standing:
    tests = standing.tests
    if tests is None or reference not in tests.block.rows or reference is None:
        return standing
    others = (row for row in tests.block.rows if row != reference)
    return replace(standing, reference=reference, differences=tuple(tests.difference(reference, row) for row in others))
