"""Differences of the rows of a part from a reference row: its baseline, or its best by the primary metric. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.results.cells import probability_of_improvement
from analysis.results.sections import Section
from analysis.results.significance import Difference, ratio_of
from analysis.results.standings import Standing
from analysis.text.numbers import decimals_of, rounded
from analysis.text.text_tables import NOTHING, PlainTable, column_title

DIFFERENCE_LEGEND = (
    "× is a ratio, + and − a difference, over the seeds that all rows have; in brackets the 95% interval, by the "
    "primary metric corrected over all pairs of the report, and in how many pairs of runs the row is the better one."
)


def make_difference_table(section: Section) -> PlainTable | None:
    """Return a line for each row that was compared, by all metrics; None if none was."""
    reference = next((one.reference for one in section.standings if one.differences), None)
    if reference is None:
        return None
    standings = [one for one in section.standings if one.differences]
    found = [{one.row: (standing, one) for one in standing.differences} for standing in standings]
    labels = [row.label for row in section.rows if any(row.label in by_row for by_row in found)]
    header = (f"against {reference}", *(column_title(standing.metric) for standing in standings))
    rows = [(label, *(_text(*by_row[label]) if label in by_row else NOTHING for by_row in found)) for label in labels]
    return PlainTable(header, tuple(rows))


def _text(standing: Standing, difference: Difference) -> str:
    better = f"better in {_improvement(standing, difference):.0%}"
    if difference.interval is None:
        return f"{signed(f'{difference.mean:+.3g}')} ({better})"
    return interval_text(difference, f"; {better}")


def interval_text(difference: Difference, more: str = "") -> str:
    """Write "×1.10 (1.03 to 1.18)" or "+0.012 (−0.010 to 0.034)", with more inside the brackets.

    Args: difference: one with an interval.
    """
    assert difference.interval is not None, "it has an interval"
    assert difference.half_width is not None, "which has a width"
    if difference.is_log:
        low, high = (f"{end:.2f}" for end in difference.interval)
        return f"×{ratio_of(difference.estimate):.2f} ({low} to {high}{more})"
    decimals = decimals_of(difference.half_width)
    low, high = (signed(rounded(end, decimals)) for end in difference.interval)
    sign = "+" if difference.mean > 0 else ""
    return f"{sign}{signed(rounded(difference.mean, decimals))} ({low} to {high}{more})"


def signed(text: str) -> str:
    """Write a number's minus as the sign that it is."""
    return text.replace("-", "−")


def _improvement(standing: Standing, difference: Difference) -> float:
    if standing.tests is None or standing.reference is None:
        return 0.5
    own, other = (
        [value.value for value in standing.tests.seed_values[row]] for row in (difference.row, standing.reference)
    )
    return probability_of_improvement(other, own, standing.metric.better)


def difference_lines(standing: Standing) -> Mapping[str, Mapping[str, Any]]:
    """Return the columns of each row that was compared with the best one, or with the reference row."""
    left_out = standing.tests.block.left_out if standing.tests is not None else ()
    lines: dict[str, dict[str, Any]] = {row: {"num_common_seeds": 0} for row in (*left_out, *standing.without_value)}
    for one in standing.from_best:
        lines[one.row] = {
            "num_common_seeds": one.num_seeds,
            "difference_from_best": one.mean,
            "adjusted_p": one.adjusted_p,
            "separable_from_best": "yes" if standing.is_separable(one) else "no",
            "no_practical_difference": "yes" if standing.is_equivalent(one) else "no",
        }
    for one in standing.differences:
        low, high = one.interval or (None, None)
        lines[one.row] = lines.get(one.row, {}) | {
            "num_common_seeds": one.num_seeds,
            "reference": standing.reference,
            "difference": one.mean,
            "interval_low": low,
            "interval_high": high,
            "interval_is": "ratio" if one.is_log else "difference",
            "probability_of_improvement": _improvement(standing, one),
        }
    return lines
