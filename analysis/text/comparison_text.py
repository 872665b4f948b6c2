"""The comparison with the paper in plain text cells and sentences, which every format renders. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.compare import MetricComparison, PartComparison
from analysis.comparison.verdicts import ComparedRow
from analysis.contract.published_numbers import PublishedPart, PublishedValue, published_better
from analysis.plan.model import PublishedPlan, TableCounterpart
from analysis.results.run_links import RunLink
from analysis.results.sections import Section
from analysis.text.caveats import section_caveats
from analysis.text.numbers import percent
from analysis.text.order_text import order_verdict
from analysis.text.published_text import metric_title, part_title, protocol_text, table_title
from analysis.text.text_tables import (
    NOTHING,
    TextCell,
    arrow,
    cell_text,
    column_title,
    metric_decimals,
    uncertainty_legend,
)

_OTHER_SETTING = (
    "Not comparable: the paper's values are of another dataset, model and metric; only the order of the rows compares."
)
_ONE_SEED = (
    "One seed: no difference between our rows is resolved, so that what agrees, or does not, may be chance; "
    "intervals are of the error of samples alone."
)
_SEVERAL_SEEDS = (
    "Two rows are resolved by our seeds if the tests behind the table's claims tell them apart, by the primary metric."
)


@dataclass(frozen=True)
class ComparisonTable:
    """One of our parts beside one of the paper's, in plain text; the first column holds labels."""

    title: str
    beside: str
    """The paper's part, and its setting."""
    header: tuple[str, ...]
    rows: tuple[tuple[TextCell, ...], ...]
    num_columns: int
    """Columns of each metric: ours, the paper's and, where values compare, the verdict."""
    orders: tuple[str, ...]
    """Agreement of the order, a sentence for each metric."""
    notes: tuple[str, ...]
    runs: tuple[tuple[RunLink, ...], ...] = ()
    """Sources of our numbers of each row."""


@dataclass(frozen=True)
class TextComparison:
    """A sweep beside the published table that it reproduces."""

    title: str
    notes: tuple[str, ...]
    """Sentences that hold for all parts."""
    tables: tuple[ComparisonTable, ...]


def make_text_comparison(
    plan: PublishedPlan, sections: Sequence[Section], comparisons: Sequence[PartComparison]
) -> TextComparison | None:
    """Return the comparisons in plain text; None if there are none."""
    if plan.published is None or not comparisons:
        return None
    decimals = dict(zip([metric.name for metric in plan.metrics], metric_decimals(plan, sections), strict=True))
    tables = tuple(_table(plan, plan.published, part, decimals) for part in comparisons)
    notes = [_verdict_legend(plan.published.margin) if plan.published.same_setting else _OTHER_SETTING]
    notes += [_ONE_SEED if len(plan.seeds) == 1 else _SEVERAL_SEEDS, uncertainty_legend(plan)]
    title = f"{plan.title}, beside the paper's {table_title(plan.published.table)}"
    return TextComparison(title, tuple(notes), tables)


def _table(
    plan: PublishedPlan, counterpart: TableCounterpart, part: PartComparison, decimals: Mapping[str, int]
) -> ComparisonTable:
    with_verdict = counterpart.same_setting
    return ComparisonTable(
        title=part.section.part.title,
        beside=_beside(part.published),
        header=("", *(title for metric in part.metrics for title in _columns(metric, with_verdict=with_verdict))),
        rows=tuple(_rows(part, decimals, counterpart.margin, with_verdict=with_verdict)),
        num_columns=3 if with_verdict else 2,
        orders=tuple(f"{m.metric.title}: {order_verdict(m)}" for m in part.metrics),
        notes=tuple(_part_notes(part, equal_compute=plan.equal_compute)),
        runs=tuple(row.runs for row in part.section.rows),
    )


def _columns(metric: MetricComparison, *, with_verdict: bool) -> tuple[str, ...]:
    name = metric.published_name
    columns = (column_title(metric.metric), f"paper: {metric_title(name)} {arrow(published_better(name))}")
    return (*columns, "verdict") if with_verdict else columns


def _rows(
    part: PartComparison, decimals: Mapping[str, int], margin: float, *, with_verdict: bool
) -> Iterator[tuple[TextCell, ...]]:
    for index, own in enumerate(part.section.rows):
        cells = [TextCell(own.label)]
        for metric in part.metrics:
            row = metric.rows[index]
            cells += [cell_text(row.ours, decimals[metric.metric.name]), _published_cell(metric, row)]
            cells += [TextCell(_verdict_text(row, margin))] if with_verdict else []
        yield tuple(cells)


def _verdict_legend(margin: float) -> str:
    return (
        "× is ours / paper, with the 95% interval for one more run, which spreads as ours do. "
        f"Within ±{percent(margin)}: the whole interval lies in that margin. Better, worse: the numbers differ, at "
        "most 5% for any false one in the report. Cannot tell: neither. Verdicts are by the primary metric."
    )


def _verdict_text(row: ComparedRow, margin: float) -> str:
    """Write "within ±10% (×1.02, 0.96 to 1.08)", or by an exploratory metric the ratio alone."""
    verdict = row.verdict
    if verdict is None:
        return NOTHING
    if verdict.ratio is None:
        return verdict.name
    interval = "" if verdict.low is None else f", {verdict.low:.2f} to {verdict.high:.2f}"
    ratio = f"×{verdict.ratio:.2f}{interval}"
    if verdict.name == "exploratory":
        return ratio
    name = f"within ±{percent(margin)}" if verdict.name == "within" else verdict.name
    reason = f"; {verdict.reason}" if verdict.reason else ""
    return f"{name} ({ratio}{reason})"


def _published_cell(metric: MetricComparison, row: ComparedRow) -> TextCell:
    if row.published is None:
        return TextCell(NOTHING)
    return TextCell(row.published.printed, best=metric.is_best_published(row))


def _part_notes(part: PartComparison, *, equal_compute: bool) -> Iterator[str]:
    yield from section_caveats(part.section, unequal_compute_allowed=not equal_compute, with_real_images=False)
    alone = [row.label for index, row in enumerate(part.section.rows) if not _is_published(part, index)]
    if alone:
        yield f"Not in the paper, and in no order here: {', '.join(alone)}."
    if part.lacking:
        yield f"In the paper, and not among our rows: {', '.join(part.lacking)}."
    values = [(row.label, metric, row.published) for metric in part.metrics for row in metric.rows if row.published]
    for label in dict.fromkeys(label for label, _, _ in values):
        changes = [_change(metric, value) for own, metric, value in values if own == label and value.correction]
        if changes:
            yield f"{label}: the paper's camera-ready text prints {', '.join(changes)}; compared is arXiv v1."
    if {value.source for _, _, value in values} == {"camera_ready"}:
        yield "Printed in the paper's camera-ready text only."


def _is_published(part: PartComparison, index: int) -> bool:
    """Return True if the paper has a number for a row by any of the metrics."""
    return any(metric.rows[index].published is not None for metric in part.metrics)


def _change(metric: MetricComparison, value: PublishedValue) -> str:
    return f"{metric_title(metric.published_name)} {value.correction} for {value.printed}"


def _beside(published: PublishedPart) -> str:
    return f"Paper: {part_title(published)}: {protocol_text(published)}"
