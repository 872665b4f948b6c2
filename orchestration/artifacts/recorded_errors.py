"""The errors of a record's numbers: a part of it with a version of its own, computed anew when it is defined anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.contract.metric_errors import (
    ERRORS,
    ERRORS_VERSION,
    ErrorsDocument,
    MetricError,
    errors_document,
    parse_metric_error,
)
from dfm_core.catalog.metrics import MetricName
from dfm_core.metrics.scores.accumulator import Score
from orchestration.artifacts.task_record import TaskRecord


def errors_of_scores(scores: Mapping[MetricName, Score]) -> ErrorsDocument:
    """Return the part of a record; a number whose error is not known has no entry."""
    return errors_document(
        {name: _metric_error(score) for name, score in scores.items() if score.error is not None},
    )


def _metric_error(score: Score) -> MetricError:
    error = score.error
    assert error is not None, "scores without an error have none to record"
    return MetricError(
        error.method,
        score.value,
        error.standard_error,
        error.influences,
        error.apart,
        error.design,
        error.bias,
        error.interval,
    )


def has_current_errors(record: TaskRecord) -> bool:
    """Return whether a record's errors are those that would be computed now."""
    part: Any = record.about.get(ERRORS)
    return isinstance(part, Mapping) and part.get("version") == ERRORS_VERSION


_NORMAL = 1.96
"""Half width of a 95% interval in standard errors."""


def intervals_of(record: TaskRecord, metrics: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the 95% intervals of a record's numbers by their finite samples, by metric, where the error is known."""
    part: Any = record.about.get(ERRORS, {})
    errors = {name: parse_metric_error(entry) for name, entry in part.get("metrics", {}).items()}
    found = {}
    for name in metrics:
        error, width = errors.get(name), record.metrics.get(f"{name}_standard_error")
        if error is not None and error.interval is not None:
            found[name] = error.interval
        elif width is not None:
            value = record.metrics[name]
            found[name] = (value - _NORMAL * width, value + _NORMAL * width)
    return found


def corrected_values(record: TaskRecord) -> dict[str, float]:
    """Return the numbers of a record without their estimated bias, by metric, where one is estimated."""
    part: Any = record.about.get(ERRORS, {})
    corrected = {name: parse_metric_error(entry).corrected for name, entry in part.get("metrics", {}).items()}
    return {name: value for name, value in corrected.items() if value is not None}
