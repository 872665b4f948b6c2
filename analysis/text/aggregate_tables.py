"""Rows over all metrics of a part, and over all parts that they stand in, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from analysis.comparison.across_parts import AcrossParts, RowAcrossParts
from analysis.comparison.row_ranks import PartRanks
from analysis.results.significance import ratio_of
from analysis.text.caveats import some_of
from analysis.text.difference_tables import interval_text, signed
from analysis.text.text_tables import NOTHING, PlainTable, column_title

RANK_LEGEND = (
    "Mean ranks over the seeds that all rows have, 1 the best, equal rows sharing their places. They are estimates, no "
    "claim is made by them; metrics that measure alike count as often as they are listed."
)
_ACROSS_LEGEND = (
    "By the primary metric, at the same parts and seeds for all rows: × is the geometric mean of ratios to the "
    "reference row, + and − the mean difference, with its 95% interval by seeds, of one seed by the error of samples. "
    "Middle half: the mean of those of them, over parts and seeds, that are not in the best or worst quarter. "
    "Better in: the share of pairs of runs in which the row is the better one. They are estimates, no claim is made by "
    "them."
)
ACROSS_COLUMNS = (
    "row", "metric", "parts", "num_parts", "num_common_seeds", "reference", "ratio_or_difference", "interval_low",
    "interval_high", "interval_is", "interquartile_mean", "probability_of_improvement", "mean_rank",
)  # fmt: skip


def make_rank_table(ranks: PartRanks | None) -> PlainTable | None:
    """Return a line for each row; None without two metrics, since one is the order of the table itself."""
    if ranks is None or len(ranks.metrics) < 2:
        return None
    header = ("rank by", *(metric.title for metric in ranks.metrics), "mean rank")
    rows = (
        (label, *(_rank_text(rank) for rank in own), _rank_text(ranks.mean_rank(label)))
        for label, own in ranks.ranks.items()
    )
    return PlainTable(header, tuple(rows))


def _rank_text(rank: float | None) -> str:
    return NOTHING if rank is None else f"{rank:.2f}".rstrip("0").rstrip(".")


def make_across_table(across: AcrossParts | None) -> PlainTable | None:
    """Return a line for each row over all parts; None if there are none."""
    if across is None:
        return None
    header = (
        f"against {across.reference}", f"{column_title(across.metric)}, mean", "middle half", "better in", "mean rank",
    )  # fmt: skip
    return PlainTable(header, tuple(_across_row(across, row) for row in across.rows))


def _across_row(across: AcrossParts, row: RowAcrossParts) -> tuple[str, ...]:
    middle, better = row.interquartile_mean, row.probability_of_improvement
    middle_text = NOTHING if middle is None else f"×{middle:.2f}" if across.is_log else signed(f"{middle:+.3g}")
    better_text = NOTHING if better is None else f"{better:.0%}"
    return row.label, _difference_text(row), middle_text, better_text, _rank_text(row.mean_rank)


def _difference_text(row: RowAcrossParts) -> str:
    difference = row.difference
    if difference is None:
        return NOTHING
    if difference.interval is not None:
        return interval_text(difference)
    return f"×{ratio_of(difference.estimate):.2f}" if difference.is_log else signed(f"{difference.estimate:+.3g}")


def across_legend(across: AcrossParts, num_planned: int) -> str:
    """Say which parts, seeds and rows the table is of, and how to read it. Args: num_planned: seeds of the sweep."""
    parts = ", ".join(part.title for part in across.parts)
    text = f"Parts: {parts}; {len(across.seeds)} of {num_planned} seeds, those that all these rows have in all of them."
    if across.other_parts:
        text += f" Not in it, for their other rows or missing values: {', '.join(p.title for p in across.other_parts)}."
    if across.left_out:
        text += f" Rows that are left out, since they lack a part or a seed: {some_of(across.left_out)}."
    return f"{text} {_ACROSS_LEGEND}"


def rank_lines(ranks: PartRanks | None) -> Iterator[tuple[str, str, float, int]]:
    """Yield (row, metric, rank, seeds in common) of each row and metric that was compared."""
    if ranks is None:
        return
    for label, own in ranks.ranks.items():
        for metric, rank, num_seeds in zip(ranks.metrics, own, ranks.num_seeds, strict=True):
            if rank is not None:
                yield label, metric.name, rank, num_seeds


def across_lines(across: AcrossParts | None) -> Iterator[Mapping[str, Any]]:
    """Yield the columns `ACROSS_COLUMNS` of each row over all parts."""
    if across is None:
        return
    for row in across.rows:
        difference = row.difference
        low, high = (difference.interval if difference else None) or (None, None)
        estimate = None
        if difference is not None:
            estimate = ratio_of(difference.estimate) if difference.is_log else difference.estimate
        yield {
            "row": row.label,
            "metric": across.metric.name,
            "parts": "; ".join(part.name for part in across.parts),
            "num_parts": len(across.parts),
            "num_common_seeds": len(across.seeds),
            "reference": across.reference,
            "ratio_or_difference": estimate,
            "interval_low": low,
            "interval_high": high,
            "interval_is": "ratio" if across.is_log else "difference",
            "interquartile_mean": row.interquartile_mean,
            "probability_of_improvement": row.probability_of_improvement,
            "mean_rank": row.mean_rank,
        }
