"""Sentences on what a sweep can find: the smallest difference with its seeds, and the seeds that one needs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from analysis.plan.model import PublishedPlan
from analysis.results.power import MOST_SEEDS, seeds_needed, smallest_difference
from analysis.results.sections import Section
from analysis.results.significance import RowTests
from analysis.text.caveats import some_of
from analysis.text.numbers import percent

ASSUMED_SPREAD = 0.03
"""Deviation over seeds, as a share, where neither records nor the sweep say one."""


def power_sentences(plan: PublishedPlan, sections: Sequence[Section] = ()) -> Iterator[str]:
    """Yield a sentence for the parts of each number of rows that the sweep makes claims of.

    Args: sections: with what is measured; empty before anything is.
    """
    tests = _claiming_tests(sections)
    measured = measured_spread(sections)
    spread, source = ASSUMED_SPREAD, "assumed"
    if plan.primary.spread is not None:
        spread, source = plan.primary.spread, "as `primary.spread` says"
    elif measured:
        spread, source = measured, "as measured"
    is_log = all(one.is_log for one in tests) and _is_log(plan)
    sampling = fmean([one.sampling_error / _scale(one) for one in tests]) if tests else 0.0
    noise = (
        f" and error of samples {percent(sampling)}" if sampling else "" if tests else ", error of samples not counted"
    )
    parts: dict[int, list[str]] = {}
    for part in plan.parts:
        if plan.claims_in(part):
            parts.setdefault(len(part.rows), []).append(part.name)
    wanted = plan.primary.difference
    for num_rows, names in parts.items():
        found = smallest_difference(num_rows, len(plan.seeds), spread, plan.num_families, sampling)
        needed = seeds_needed(num_rows, math.log1p(wanted) if is_log else wanted, spread, plan.num_families, sampling)
        can = "one seed separates nothing"
        if found is not None:
            can = f"{percent(math.expm1(found) if is_log else found)} is found in 80% of sweeps"
        plural = "" if len(plan.seeds) == 1 else "s"
        seeds = f"{needed} seeds" if needed else f"more than {MOST_SEEDS} seeds"
        yield (
            f"Difference between two of {num_rows} rows ({some_of(names)}), {len(plan.seeds)} seed{plural}: {can}; "
            f"{percent(wanted)} needs {seeds} (spread over seeds {percent(spread)}, {source}{noise})."
        )


def measured_spread(sections: Sequence[Section]) -> float | None:
    """Return the deviation over seeds by the primary metric, as a share of the values; None without two seeds."""
    variances = [one.spread / _scale(one) ** 2 for one in _claiming_tests(sections) if one.spread]
    return math.sqrt(fmean(variances)) if variances else None


def _claiming_tests(sections: Sequence[Section]) -> list[RowTests]:
    """Return the tests of rows that claims are made by, of parts whose values are not zero."""
    standings = (standing for section in sections for standing in section.standings if standing.makes_claims)
    return [one.tests for one in standings if one.tests is not None and _scale(one.tests)]


def _scale(tests: RowTests) -> float:
    """Return what turns a difference on the scale of the test into a share."""
    return 1.0 if tests.is_log else float(abs(tests.values.mean()))


def _is_log(plan: PublishedPlan) -> bool:
    return next((metric.scale == "log" for metric in plan.metrics if metric.name == plan.primary.metric), True)
