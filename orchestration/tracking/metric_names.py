"""Names of metrics in MLflow, and histories thinned to what its pages can draw."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.contract.record_schema import COST_PREFIX, standard_error_of
from dfm_core.config import SamplingConfig
from dfm_core.training.curve import CurveRow, has_timesteps
from orchestration.tasks.task import MetricTask, Task
from orchestration.tracking.limits import metric_name

MAX_POINTS = 1000
"""Points of a history: the UI crawls beyond. The record in the store has all."""


def sampling_name(sampling: SamplingConfig) -> str:
    """Return a sampling setting as part of a metric's name, e.g. "steps 30-10 tau 0.7"; without defaults."""
    parts = [f"steps {'-'.join(map(str, sampling.steps))}"]
    if sampling.tau:
        parts.append(f"tau {'-'.join(f'{tau:g}' for tau in sampling.tau)}")
    usual = SamplingConfig()
    for key in ("guidance", "time_shift", "condition_noise"):
        value = getattr(sampling, key)
        parts.extend([f"{key} {value:g}"] if value != getattr(usual, key) else [])
    if sampling.guidance_interval != usual.guidance_interval:
        parts.append("in {:g}-{:g}".format(*sampling.guidance_interval))
    parts.extend(value for value in (sampling.solver, sampling.weights) if value not in (usual.solver, usual.weights))
    return " ".join(parts)


def shown_name(name: str, task: Task) -> str:
    """Return a metric's name in MLflow: a result's own, within its limits, and with a prefix for a cost."""
    metrics = task.protocols if isinstance(task, MetricTask) else {}
    quality = any(name in (metric, standard_error_of(metric)) for metric in metrics)
    return metric_name(name if quality else f"{COST_PREFIX}{name}")


def thinned(rows: Sequence[CurveRow], logged: int, until: int) -> list[CurveRow]:
    """Return the rows to log after the last one that was: the first of every thousandth of the training, the few that
    also have the losses by timestep, and the very last.

    The result does not depend on where a run was cut off, or in how many pieces its rows come.
    """
    width = max(1, -(-until // MAX_POINTS))
    rows_to_log, before = [], logged
    for row in rows:
        step = int(row["step"])
        if step > before and (step // width > before // width or step == until or has_timesteps(row)):
            rows_to_log.append(row)
            before = step
    return rows_to_log
