"""Verdicts: does one of our cells reproduce the paper's number? Pure.

The paper prints one number without an error. It is taken as one more run of the same setting: one more seed, that
spreads as ours do, and as many samples as ours. It is reproduced if it lies in the 95% prediction interval for such a
run; otherwise our value is better or worse. With one seed the spread over seeds is unknown and not in the interval, so
that "better" and "worse" may be the luck of a seed, and the reason says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from analysis.contract.published_numbers import PublishedValue
from analysis.results.cells import Cell
from analysis.results.intervals import Uncertainty, combine_errors, sampling_variance, variance

VerdictName = Literal["reproduced", "better", "worse", "not comparable"]

OTHER_SETTING = "the paper's value is of another dataset, model and metric"


@dataclass(frozen=True)
class Verdict:
    """The judgement of a cell beside the paper's number."""

    name: VerdictName
    reason: str = ""
    """Reason why it does not compare, or the error that the interval leaves out."""
    half_width: float | None = None
    """Half the 95% prediction interval, the paper's rounding included; None if the numbers do not compare."""


@dataclass(frozen=True)
class ComparedRow:
    """One row by one metric, ours and the paper's."""

    label: str
    ours: Cell
    published: PublishedValue | None
    """None if the paper has no such row."""
    verdict: Verdict | None
    """None without both values, unless they could not compare anyway."""
    setting_difference: str = ""
    """Difference that keeps values of the same declared setting from being compared; empty if there is none."""

    @property
    def ranked(self) -> bool:
        """True if the row counts in the order of rows."""
        return self.published is not None and self.ours.finite and not self.setting_difference


def judge(
    ours: Cell, published: PublishedValue, better: Literal["lower", "higher"], setting_difference: str
) -> Verdict | None:
    """Return the verdict on a cell; None while it has no value that could compare.

    Args: better: direction of the metric. obstacle: why the numbers do not compare; empty if they do.
    """
    if setting_difference:
        return Verdict("not comparable", setting_difference)
    if ours.mean is None:
        return None
    if not ours.finite:
        return Verdict("not comparable", f"our value is {ours.mean}")
    uncertainty = _prediction_uncertainty(ours)
    if uncertainty is None:
        return Verdict("not comparable", "the error of our value is not known")
    half_width = uncertainty.half_width + _rounding(published.printed)
    reason = "of one seed, by the error of samples alone" if uncertainty.basis == "samples" else ""
    difference = ours.mean - published.value
    if abs(difference) <= half_width:
        return Verdict("reproduced", reason, half_width)
    return Verdict("better" if (difference < 0) == (better == "lower") else "worse", reason, half_width)


def _prediction_uncertainty(ours: Cell) -> Uncertainty | None:
    """Return the uncertainty of the difference between our mean and one more run."""
    num_values = len(ours.values)
    spread, sampling = variance([value.value for value in ours.values]), sampling_variance(ours.values)
    return combine_errors(
        None if spread is None else spread * (1 + 1 / num_values),
        num_values - 1,
        None if sampling is None else 2 * sampling,
    )


def _rounding(printed: str) -> float:
    """Return half a unit of the last digit of a number as it is printed."""
    return 0.5 * math.pow(10, -len(printed.partition(".")[2]))
