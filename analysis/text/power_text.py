"""Sentences on what a sweep can find: the smallest difference with its seeds, and the seeds that one needs. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean

from analysis.plan.model import PublishedPlan
from analysis.results.power import MOST_SEEDS, seeds_needed, smallest_difference
from analysis.results.sections import Section
from analysis.text.caveats import some_of
from analysis.text.numbers import percent

ASSUMED_SPREAD = 0.03
"""Deviation over seeds, as a share, where neither records nor the sweep say one."""


def power_sentences(plan: PublishedPlan, sections: Sequence[Section] = ()) -> Iterator[str]:
    """Yield a sentence for the parts of each number of rows that the sweep makes claims of.

    Args: sections: with what is measured; empty before anything is.
    """
    measured = measured_spread(sections)
    spread, source = (measured, "as measured") if measured else (plan.primary.spread or ASSUMED_SPREAD, "assumed")
    source = "as `primary.spread` says" if source == "assumed" and plan.primary.spread else source
    parts: dict[int, list[str]] = {}
    for part in plan.parts:
        if plan.claims_in(part):
            parts.setdefault(len(part.rows), []).append(part.name)
    wanted = plan.primary.difference
    for num_rows, names in parts.items():
        found = smallest_difference(num_rows, len(plan.seeds), spread, plan.num_families)
        needed = seeds_needed(num_rows, math.log1p(wanted), spread, plan.num_families)
        can = (
            "one seed separates nothing" if found is None else f"{percent(math.expm1(found))} is found in 80% of sweeps"
        )
        plural = "" if len(plan.seeds) == 1 else "s"
        seeds = f"{needed} seeds" if needed else f"more than {MOST_SEEDS} seeds"
        yield (
            f"Difference between two of {num_rows} rows ({some_of(names)}), {len(plan.seeds)} seed{plural}: {can}; "
            f"{percent(wanted)} needs {seeds} (spread over seeds {percent(spread)}, {source})."
        )


def measured_spread(sections: Sequence[Section]) -> float | None:
    """Return the deviation over seeds by the primary metric, as a share of the values; None without two seeds."""
    variances = []
    for section in sections:
        for standing in section.standings:
            tests = standing.tests
            if standing.makes_claims and tests is not None and tests.spread:
                mean = 1.0 if tests.is_log else float(abs(tests.values.mean()))
                variances += [tests.spread / mean**2] if mean else []
    return math.sqrt(fmean(variances)) if variances else None
