"""The errors of a record's numbers: of this version, of an earlier one, or none. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from analysis.contract.metric_errors import EARLIER, MetricError
from analysis.contract.record_schema import standard_error_of
from analysis.plan.model import PublishedPlan
from analysis.records.record import MISSING, Record

_SAME_VALUE = 1e-6
_UNKNOWN = "none"


def error_of(record: Record, metric: str) -> MetricError | None:
    """Return the error of a metric's number, that of an earlier version with `EARLIER` as its method.

    Returns: None if the record has no sound one, or no finite number.
    """
    value = record.metrics.get(metric)
    if value is None or not math.isfinite(value):
        return None
    if record.about.errors is not None:
        error = record.about.errors.get(metric)
        belongs = error is not None and math.isclose(error.value, value, rel_tol=_SAME_VALUE, abs_tol=_SAME_VALUE)
        return error if belongs else None
    logged = record.metrics.get(standard_error_of(metric))
    if logged is None or not math.isfinite(logged) or logged < 0:
        return None
    return MetricError(EARLIER, value, logged, apart=logged)


def mixed_errors_notes(plan: PublishedPlan, records: Mapping[str, Record]) -> tuple[str, ...]:
    """Return, for each metric whose numbers carry errors of several kinds, how many carry which."""
    digests = [*plan.evaluations, *plan.floors]
    notes = []
    for metric in plan.metrics:
        counts: dict[str, int] = {}
        for record in (records.get(digest, MISSING) for digest in digests):
            if record.status == "done" and metric.name in record.metrics:
                error = error_of(record, metric.name)
                kind = _UNKNOWN if error is None else error.method
                counts[kind] = counts.get(kind, 0) + 1
        if len(counts) > 1:
            listed = ", ".join(f"{kind} ({count})" for kind, count in sorted(counts.items()))
            notes.append(
                f"{metric.title}: the records carry standard errors of several kinds: {listed}. Intervals of these are "
                "not alike; sweep.py --errors computes all anew from stored features."
            )
    return tuple(notes)
