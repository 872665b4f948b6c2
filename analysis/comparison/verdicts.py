"""Whether a cell of ours reproduces the paper's number. Pure.

The paper prints one number without an error. It is taken as one more run of the same setting: one more seed, that
spreads as ours do, and as many samples as ours. It is reproduced if it lies in the 95% prediction interval for such a
run; what is outside is better or worse. With one seed of ours the spread over seeds is not known and not in the
interval, so that "better" and "worse" may be the luck of a seed, and the reason says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from analysis.contract.published_numbers import PublishedValue
from analysis.results.cells import Cell
from analysis.results.intervals import Uncertainty, combined, sampling_variance, variance

VerdictName = Literal["reproduced", "better", "worse", "not comparable"]

OTHER_SETTING = "the paper's value is of another dataset, model and metric"


@dataclass(frozen=True)
class Verdict:
    """What a cell is beside the paper's number."""

    name: VerdictName
    reason: str = ""
    """Why it does not compare, or what the interval leaves out."""
    half_width: float | None = None
    """Of the 95% prediction interval, the paper's rounding included; None if the numbers do not compare."""


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


def judge(ours: Cell, published: PublishedValue, better: Literal["lower", "higher"], obstacle: str) -> Verdict | None:
    """The verdict on a cell; None as long as it has no value that could compare.

    Args: better: direction of the metric. obstacle: why the numbers do not compare; empty if they do.
    """
    if obstacle:
        return Verdict("not comparable", obstacle)
    if ours.mean is None:
        return None
    if not ours.finite:
        return Verdict("not comparable", f"our value is {ours.mean}")
    uncertainty = _of_another_run(ours)
    if uncertainty is None:
        return Verdict("not comparable", "the error of our value is not known")
    half_width = uncertainty.half_width + _rounding(published.printed)
    reason = "of one seed, by the error of samples alone" if uncertainty.basis == "samples" else ""
    difference = ours.mean - published.value
    if abs(difference) <= half_width:
        return Verdict("reproduced", reason, half_width)
    return Verdict("better" if (difference < 0) == (better == "lower") else "worse", reason, half_width)


def _of_another_run(ours: Cell) -> Uncertainty | None:
    """Of the difference between our mean and one more run."""
    num_values = len(ours.values)
    spread, sampling = variance([value.value for value in ours.values]), sampling_variance(ours.values)
    return combined(
        None if spread is None else spread * (1 + 1 / num_values),
        num_values - 1,
        None if sampling is None else 2 * sampling,
    )


def _rounding(printed: str) -> float:
    """Half a unit of the last digit of a number as it is printed."""
    return 0.5 * math.pow(10, -len(printed.partition(".")[2]))
