"""The join of a plan with its records: every planned measurement, and its status. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.contract.metric_errors import EARLIER, MetricError
from analysis.contract.record_schema import standard_error_of
from analysis.plan.model import Metric, PublishedPlan, Trial
from analysis.plan.protocol import Protocol, ProtocolPair, with_task_fields
from analysis.records.error_kinds import error_of
from analysis.records.record import MISSING, Record
from analysis.results.sampling_error import share_error

CellStatus = Literal["done", "running", "failed", "missing", "not planned"]


@dataclass(frozen=True)
class Measurement:
    """One metric of one trial at one step: a line of table.csv."""

    part: str
    row: str
    seed: int
    step: int
    metric: str
    better: str
    value: float | None
    """None unless the status is done."""
    standard_error: float | None
    """Standard error of the value over samples; None if the record has no sound one."""
    error: MetricError | None
    """Error that the record has; None unless it is sound."""
    status: CellStatus
    protocols: ProtocolPair
    digest: str
    source: str
    """Page of its run, else the run's id, else the record's file; "" if there is none."""
    training_flops: int
    training_images: int


RowMeasurements = Mapping[str, Sequence[Measurement]]
"""Measurements that have a value, by row in the table's order; rows without any are absent."""


def measure(plan: PublishedPlan, records: Mapping[str, Record]) -> tuple[Measurement, ...]:
    """Return all planned measurements in the plan's order, whatever their status."""
    trials = (trial for part in plan.parts for row in part.rows for trial in plan.trials_of(part.name, row))
    return tuple(measurement for trial in trials for measurement in _measure_trial(plan, trial, records))


def _measure_trial(plan: PublishedPlan, trial: Trial, records: Mapping[str, Record]) -> Iterator[Measurement]:
    for step, digest in trial.evaluations:
        task, record = plan.evaluations[digest], records.get(digest, MISSING)
        for metric in plan.metrics:
            status: CellStatus = record.status
            if task.metrics is not None and metric.name not in task.metrics:
                status = "not planned"
            elif status == "done" and metric.name not in record.metrics:
                status = "missing"
            elif status == "missing" and any(records.get(one, MISSING).status == "failed" for one in task.trained):
                status = "failed"
            yield Measurement(
                part=trial.part,
                row=trial.row,
                seed=trial.seed,
                step=step,
                metric=metric.name,
                better=metric.better,
                value=record.metrics[metric.name] if status == "done" else None,
                standard_error=standard_error(record, metric, task.num_samples) if status == "done" else None,
                error=error_of(record, metric.name) if status == "done" else None,
                status=status,
                protocols=protocols_of(task.protocols, record, metric.name),
                digest=digest,
                source=record.source,
                training_flops=task.training_flops,
                training_images=task.training_images,
            )


def protocols_of(planned: Mapping[str, Protocol], record: Record, metric: str) -> ProtocolPair:
    """Return a metric's planned protocol and, once it is measured, the recorded one."""
    recorded = record.about.protocols.get(metric) if record.status == "done" else None
    of_plan = planned.get(metric)
    if recorded is not None and of_plan is not None:
        recorded = with_task_fields(recorded, of_plan.values)
    return ProtocolPair(of_plan, recorded)


def standard_error(record: Record, metric: Metric, num_samples: int | None) -> float | None:
    """Return a metric's standard error over samples; of a share, which needs no record of it, never None.

    Returns: None if the record has no sound one, or the value is not finite.
    """
    error, value = error_of(record, metric.name), record.metrics.get(metric.name)
    if value is None or not math.isfinite(value):
        return None
    sound = None if error is None else error.standard_error
    is_earlier_share = metric.scale == "share" and (error is None or error.method == EARLIER)
    return share_error(value, sound, num_samples) if is_earlier_share else sound


def logged_standard_error(record: Record, metric: str) -> float | None:
    """Return the number that a record logs as the standard error of a metric, sound or not."""
    return record.metrics.get(standard_error_of(metric))


def is_standard_error(number: float) -> bool:
    """Return True if a number can be a standard error: finite and not negative."""
    return math.isfinite(number) and number >= 0
