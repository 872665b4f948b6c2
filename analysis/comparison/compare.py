"""Our cells beside the paper's: every part of a sweep joined with the paper's part. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis.comparison.kendall import RankAgreement
from analysis.comparison.row_order import Order, compare_order, measure_agreement
from analysis.comparison.setting_differences import find_setting_difference
from analysis.comparison.verdicts import OTHER_SETTING, ComparedRow, Judge
from analysis.contract.published_numbers import PublishedPart, check_published_metrics, find_published, has_published
from analysis.plan.model import Metric, PublishedPlan, TableCounterpart
from analysis.results.sections import Row, Section


@dataclass(frozen=True)
class MetricComparison:
    """One of our metrics and the published one beside it, over the rows of a part."""

    metric: Metric
    published_name: str
    rows: tuple[ComparedRow, ...]
    order: Order | None
    """None if our rows do not compare, or if fewer than two have two values that compare."""
    comparable: bool = True
    """True if our rows compare among each other."""
    agreement: RankAgreement | None = None
    """Kendall's tau with the paper's order; None if our rows do not compare, or fewer than three have both values."""

    def is_best_published(self, row: ComparedRow) -> bool:
        """Return True if the paper prints nothing better for the rows here, and more than one number for them."""
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
        """True if the paper has a number for any of our rows."""
        return any(row.published is not None for metric in self.metrics for row in metric.rows)

    @property
    def lacking(self) -> tuple[str, ...]:
        """Return the paper's rows that we have no row for."""
        labels = [self.section.part.label_in_sweep(row.label) for row in self.section.rows]
        joined = {*labels, *map(_grid_value, labels)}
        return tuple(row for row in self.published.rows if row not in joined)


def compare(plan: PublishedPlan, sections: Sequence[Section]) -> tuple[PartComparison, ...]:
    """Compare every part of which the paper prints a row; empty if the sweep has none.

    Raises: UserError if the plan names a table, part, guidance or metric that the paper does not have.
    """
    if plan.published is None:
        return ()
    check_published_metrics(plan.published.table, plan.published.metrics.values())
    parts = (_compare_part(plan, plan.published, section) for section in sections)
    return tuple(part for part in parts if part is not None and part.has_published)


def _compare_part(plan: PublishedPlan, table: TableCounterpart, section: Section) -> PartComparison | None:
    counterpart, own_name = section.part.published, section.part.name
    if counterpart is None or (counterpart.part is None and not has_published(table.table, own_name)):
        return None
    published = find_published(table.table, counterpart.part or own_name, counterpart.guidance)
    longest = max((row.step for row in section.rows), default=0)
    metrics = []
    for index, metric in enumerate(plan.metrics):
        name = table.metrics.get(metric.name)
        if name in published.metrics:
            standing = section.standings[index]
            rule = Judge(standing, table.margin, plan.num_families * max(1, len(section.rows)))
            rows = tuple(
                _compare_row(
                    row,
                    section.part.label_in_sweep(row.label),
                    index,
                    rule,
                    published,
                    name,
                    longest if table.same_setting else None,
                )
                for row in section.rows
            )
            comparable = section.comparability[index].comparable
            order = compare_order(rows, standing) if comparable else None
            tau = measure_agreement(rows) if comparable else None
            metrics.append(MetricComparison(metric, name, rows, order, comparable, tau))
    return PartComparison(section, published, tuple(metrics))


def _compare_row(
    row: Row,
    label: str,
    index: int,
    rule: Judge,
    published: PublishedPart,
    published_name: str,
    longest: int | None,
) -> ComparedRow:
    """Join a row by its name, or a point of a grid (`key=value`) by the value.

    Args: label: of the row in the sweep. index: of the metric in the plan. longest: steps of the part's longest
        training; None if the setting is another than the paper's anyway.
    """
    ours = row.cells[index]
    named = published.values.get((label, published_name))
    value = named or published.values.get((_grid_value(label), published_name))
    if value is None:
        return ComparedRow(row.label, ours, None, None)
    if longest is None:
        return ComparedRow(row.label, ours, value, rule.judge(row.label, ours, value, OTHER_SETTING))
    difference = find_setting_difference(ours, published, published_name, longest)
    return ComparedRow(row.label, ours, value, rule.judge(row.label, ours, value, difference), difference)


def _grid_value(label: str) -> str:
    """Return the value of a grid's point `key=value`; empty for other labels."""
    return label.partition("=")[2]
