"""Verdicts: is one of our cells the paper's number? Pure.

The paper prints one number without an error. It is taken as one more run of the same setting: one more seed, that
spreads as ours do, and as many samples as ours. There are three outcomes: ours is within a margin of the paper's, if
the whole 95% prediction interval of the ratio lies in it (two one-sided tests at 2.5%); it is better or worse, if the
interval, corrected over all verdicts of the report, excludes the paper's number; or one cannot tell. "Not rejected" is
no outcome: a wide interval holds anything. With one seed the spread over seeds is unknown, so that one can never tell.

Verdicts are of the primary metric; others have the ratio and its interval alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from analysis.contract.published_numbers import PublishedValue
from analysis.results.cells import Cell
from analysis.results.intervals import CONFIDENCE, Uncertainty, combine_errors, variance
from analysis.results.sampling_error import sampling_variance
from analysis.results.significance import RowTests
from analysis.results.standings import Standing

VerdictName = Literal["within", "better", "worse", "cannot tell", "exploratory", "not comparable"]

OTHER_SETTING = "the paper's value is of another dataset, model and metric"
ONE_SEED = "one seed: the spread over seeds is unknown"


@dataclass(frozen=True)
class Verdict:
    """The judgement of a cell beside the paper's number."""

    name: VerdictName
    reason: str = ""
    """Reason why it does not compare, or why one cannot tell."""
    ratio: float | None = None
    """Ours over the paper's; None if the numbers do not compare."""
    low: float | None = None
    high: float | None = None
    """Ends of its 95% prediction interval, the paper's rounding included; None if our error is not known."""


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


@dataclass(frozen=True)
class Judge:
    """The rule of all verdicts by one metric of a part."""

    standing: Standing
    margin: float
    """Largest difference that counts as none, as a share of the paper's number."""
    num_verdicts: int
    """Verdicts of the report that "better" and "worse" are corrected over."""

    def judge(self, label: str, ours: Cell, published: PublishedValue, setting_difference: str) -> Verdict | None:
        """Return the verdict on a cell; None while it has no value that could compare.

        Args: setting_difference: why the numbers do not compare; empty if they do.
        """
        if setting_difference:
            return Verdict("not comparable", setting_difference)
        if ours.mean is None:
            return None
        if not ours.finite:
            return Verdict("not comparable", f"our value is {ours.mean}")
        if published.value == 0:
            return Verdict("not comparable", "the paper's value is 0")
        return self._verdict(label, ours, published)

    def _verdict(self, label: str, ours: Cell, published: PublishedValue) -> Verdict:
        values = [value.value for value in ours.values]
        is_log = self.standing.metric.scale == "log" and min(values) > 0 and published.value > 0
        uncertainty = prediction_uncertainty(self.standing.tests, label, ours, is_log=is_log)
        ratio = math.fsum(values) / len(values) / published.value
        if is_log:
            ratio = math.exp(math.fsum(map(math.log, values)) / len(values)) / published.value
        if uncertainty is None:
            return Verdict("cannot tell", "the error of our value is not known", ratio)
        low, high = self._interval(ratio, published, uncertainty, 1 - CONFIDENCE, is_log=is_log)
        verdict = Verdict("cannot tell", "", ratio, low, high)
        if not self.standing.makes_claims:
            return Verdict("exploratory", "", ratio, low, high)
        if len(values) < 2:
            return Verdict("cannot tell", ONE_SEED, ratio, low, high)
        if 1 - self.margin <= low and high <= 1 + self.margin:
            return Verdict("within", "", ratio, low, high)
        outside = (1 - CONFIDENCE) / self.num_verdicts
        surely_low, surely_high = self._interval(ratio, published, uncertainty, outside, is_log=is_log)
        if surely_low <= 1 <= surely_high:
            return verdict
        is_better = (ratio < 1) == (self.standing.metric.better == "lower")
        return Verdict("better" if is_better else "worse", "", ratio, low, high)

    @staticmethod
    def _interval(
        ratio: float, published: PublishedValue, uncertainty: Uncertainty, outside: float, *, is_log: bool
    ) -> tuple[float, float]:
        """Return the ends of the ratio's prediction interval that leaves out the share `outside`."""
        half_width, rounding = uncertainty.half_width_at(outside), _rounding(published.printed) / abs(published.value)
        if is_log:
            width = half_width + math.log1p(rounding)
            return ratio * math.exp(-width), ratio * math.exp(min(width, 700.0))
        width = half_width / abs(published.value) + rounding
        return ratio - width, ratio + width


def prediction_uncertainty(tests: RowTests | None, label: str, ours: Cell, *, is_log: bool) -> Uncertainty | None:
    """Return the uncertainty of the difference between a row's mean and one more run; None if nothing is known of it.

    The spread over seeds is pooled over the rows that have the same seeds, unless they spread differently.
    """
    num_values = len(ours.values)
    values = [math.log(value.value) if is_log else value.value for value in ours.values]
    spread, degrees = variance(values), float(num_values - 1)
    is_pooled = tests is not None and label in tests.block.rows and tests.is_log == is_log and not tests.is_unequal
    if tests is not None and is_pooled and tests.num_seeds == num_values and tests.total_spread is not None:
        spread, degrees = tests.total_spread
    sampling = sampling_variance(ours.values, is_log=is_log)
    of_difference = None if spread is None else spread * (1 + 1 / num_values)
    return combine_errors(of_difference, degrees, None if sampling is None else 2 * sampling)


def _rounding(printed: str) -> float:
    """Return half a unit of the last digit of a number as it is printed."""
    return 0.5 * math.pow(10, -len(printed.partition(".")[2]))
