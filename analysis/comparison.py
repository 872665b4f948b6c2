"""Our cells beside the paper's, and whether both put the rows in the same order. Pure.

Orders are compared as Kendall does, pair of rows by pair of rows. With several seeds a pair counts only if our seeds
resolve it: if zero is outside the 95% interval of the two rows' difference, seed by seed. Each pair stands for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from analysis.agreement import Agreement, agreement
from analysis.intervals import SeedValue
from analysis.layouts import Cell, Row, Section
from analysis.obstacles import obstacle_of
from analysis.plan_types import Metric, PlanFile, TableCounterpart
from analysis.published import PublishedPart, PublishedValue, check_published_metrics, find_published, has_published
from analysis.separation import difference
from analysis.verdicts import OTHER_SETTING, Verdict, judge

PairVerdict = Literal["agree", "disagree", "unresolved", "tied"]
_BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class ComparedRow:
    """One row by one metric, ours and the paper's."""

    label: str
    ours: Cell
    published: PublishedValue | None
    """None if the paper has no such row."""
    verdict: Verdict | None
    """None unless both values are there, or if they could not compare anyway."""
    obstacle: str = ""
    """Of the same setting: what the paper measured otherwise, so that the values do not compare; empty if nothing."""

    @property
    def ranked(self) -> bool:
        """Whether it counts in the order of rows."""
        return self.published is not None and self.ours.finite and not self.obstacle


@dataclass(frozen=True)
class Order:
    """How far our order of the rows is the paper's."""

    num_pairs: int
    """Pairs of rows that have both values and that the paper ranks; the sum of the next three."""
    num_agree: int
    num_disagree: int
    num_unresolved: int
    """Pairs whose means our seeds do not tell apart; with one seed, those with equal values."""
    num_alike: int
    """Pairs that our means rank as the paper does, resolved or not."""
    num_tied: int
    """Pairs that the paper prints as equal; they are not in num_pairs."""
    best_published: tuple[str, ...]
    """Labels of the rows that are best in the paper, ties included."""
    best_ours: tuple[str, ...]
    best_agrees: bool
    """Whether what is best here is best in the paper."""
    best_resolved: bool
    """Whether our best is apart from all rows that the paper ranks lower, or else from the paper's best."""


@dataclass(frozen=True)
class MetricComparison:
    """One metric of ours and the published one beside it, over the rows of a part."""

    metric: Metric
    published_name: str
    rows: tuple[ComparedRow, ...]
    order: Order | None
    """None if our rows do not compare, or if fewer than two have values of both that do."""
    comparable: bool = True
    """Whether our rows compare among each other."""
    agreement: Agreement | None = None
    """Kendall's tau with the paper's order; None if our rows do not compare, or fewer than three have both values."""

    def is_best_published(self, row: ComparedRow) -> bool:
        """Whether the paper prints nothing better for the rows here; never if it prints only one number for them."""
        printed = {other.published.value for other in self.rows if other.published is not None}
        choose = min if self.metric.better == "lower" else max
        return row.published is not None and len(printed) > 1 and row.published.value == choose(printed)


@dataclass(frozen=True)
class PartComparison:
    """One part of ours beside one of the paper."""

    section: Section
    published: PublishedPart
    metrics: tuple[MetricComparison, ...]

    @property
    def has_published(self) -> bool:
        """Whether the paper has a number for any of our rows."""
        return any(row.published is not None for metric in self.metrics for row in metric.rows)

    @property
    def lacking(self) -> tuple[str, ...]:
        """The paper's rows that none of ours stands beside."""
        labels = [row.label for row in self.section.rows]
        joined = {*labels, *map(_grid_value, labels)}
        return tuple(row for row in self.published.rows if row not in joined)


def compare(plan: PlanFile, sections: Sequence[Section]) -> tuple[PartComparison, ...]:
    """Every part of which the paper prints a row, beside its own; empty if the sweep has none.

    Raises: UserError if the plan names a table, part, guidance or metric that the paper does not have.
    """
    if plan.published is None:
        return ()
    check_published_metrics(plan.published.table, plan.published.metrics.values())
    found = (_compare_part(plan, plan.published, section) for section in sections)
    return tuple(part for part in found if part is not None and part.has_published)


def _compare_part(plan: PlanFile, table: TableCounterpart, section: Section) -> PartComparison | None:
    counterpart, own_name = section.part.published, section.part.name
    if counterpart is None or (counterpart.part is None and not has_published(table.table, own_name)):
        return None
    published = find_published(table.table, counterpart.part or own_name, counterpart.guidance)
    longest = max((row.step for row in section.rows), default=0)
    metrics = []
    for index, metric in enumerate(plan.metrics):
        name = table.metrics.get(metric.name)
        if name in published.metrics:
            rows = tuple(
                _compare_row(row, index, metric, published, name, longest if table.same_setting else None)
                for row in section.rows
            )
            comparable = section.comparability[index].comparable
            order = order_of(rows, metric.better, one_seed=len(plan.seeds) == 1) if comparable else None
            tau = _agreement_of(rows) if comparable else None
            metrics.append(MetricComparison(metric, name, rows, order, comparable, tau))
    return PartComparison(section, published, tuple(metrics))


def _compare_row(
    row: Row, index: int, metric: Metric, published: PublishedPart, published_name: str, longest: int | None
) -> ComparedRow:
    """A row joined by its name, or for a point of a grid (`key=value`) by the value.

    Args: index: of the metric in the plan. longest: steps of the part's longest training; None if the setting is
        another than the paper's anyway.
    """
    ours = row.cells[index]
    named = published.values.get((row.label, published_name))
    value = named or published.values.get((_grid_value(row.label), published_name))
    if value is None:
        return ComparedRow(row.label, ours, None, None)
    if longest is None:
        return ComparedRow(row.label, ours, value, judge(ours, value, metric.better, OTHER_SETTING))
    obstacle = obstacle_of(ours, published, published_name, longest)
    return ComparedRow(row.label, ours, value, judge(ours, value, metric.better, obstacle), obstacle)


def _grid_value(label: str) -> str:
    """The value of a grid's point `key=value`; empty for other labels."""
    return label.partition("=")[2]


def _agreement_of(rows: Sequence[ComparedRow]) -> Agreement | None:
    """Tau of the rows that have both values; the same each time for the same numbers."""
    ranked = [(row.ours.values, row.published.value) for row in rows if row.published is not None and row.ranked]
    generator = np.random.default_rng(_BOOTSTRAP_SEED)
    return agreement([values for values, _ in ranked], [value for _, value in ranked], generator)


@dataclass(frozen=True)
class _Ranked:
    """A row with both values, less being better in both."""

    label: str
    ours: float
    values: tuple[SeedValue, ...]
    published: float


def order_of(rows: Sequence[ComparedRow], better: Literal["lower", "higher"], *, one_seed: bool) -> Order | None:
    """How far the rows' order by our means is the published one.

    Rows without both finite values are left out, and those whose values do not compare with the paper's.

    Args: rows: of one part and metric. better: direction of both metrics. one_seed: whether the sweep has only one.
    Returns: None if fewer than two rows are left.
    """
    sign = 1.0 if better == "lower" else -1.0
    ranked = [
        _Ranked(row.label, sign * row.ours.mean, row.ours.values, sign * row.published.value)
        for row in rows
        if row.published is not None and row.ours.mean is not None and row.ranked
    ]
    if len(ranked) < 2:
        return None
    pairs = list(combinations(ranked, 2))
    verdicts = Counter(_verdict(first, second, one_seed=one_seed) for first, second in pairs)
    best_ours = [row for row in ranked if row.ours == min(other.ours for other in ranked)]
    best_published = [row for row in ranked if row.published == min(other.published for other in ranked)]
    agrees = all(row in best_published for row in best_ours)
    rivals = [row for row in ranked if row not in best_published] if agrees else best_published
    return Order(
        num_pairs=len(pairs) - verdicts["tied"],
        num_agree=verdicts["agree"],
        num_disagree=verdicts["disagree"],
        num_unresolved=verdicts["unresolved"],
        num_alike=sum((a.ours - b.ours) * (a.published - b.published) > 0 for a, b in pairs),
        num_tied=verdicts["tied"],
        best_published=tuple(row.label for row in best_published),
        best_ours=tuple(row.label for row in best_ours),
        best_agrees=agrees,
        best_resolved=all(_resolved(row, rival) for row in best_ours for rival in rivals),
    )


def _verdict(first: _Ranked, second: _Ranked, *, one_seed: bool) -> PairVerdict:
    if first.published == second.published:
        return "tied"
    if first.ours == second.ours or not (one_seed or _resolved(first, second)):
        return "unresolved"
    return "agree" if (first.ours < second.ours) == (first.published < second.published) else "disagree"


def _resolved(first: _Ranked, second: _Ranked) -> bool:
    """Whether zero is outside the 95% interval of the rows' difference by seed; not if that rests on a single seed."""
    found = difference(first.values, second.values)
    if found is None or found.uncertainty is None or found.num_seeds < 2:
        return False
    return abs(found.mean) > found.uncertainty.half_width
