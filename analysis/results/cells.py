"""One cell of the table: a metric over the seeds of a row, or of real images. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from analysis.plan.model import FloorTask, Metric
from analysis.plan.protocol import ProtocolPair
from analysis.records.error_kinds import error_of
from analysis.records.record import Record
from analysis.results.intervals import Basis, SeedValue
from analysis.results.measurements import CellStatus, Measurement, protocols_of, standard_error
from analysis.results.sampling_error import uncertainty_of_mean

_FEWEST_FOR_QUARTERS = 4
_WORST_FIRST: tuple[CellStatus, ...] = ("failed", "running", "missing", "not planned", "done")


@dataclass(frozen=True)
class Cell:
    """A metric over the seeds of a row, at its last evaluation."""

    status: CellStatus
    """done as soon as one seed is."""
    mean: float | None = None
    half_width: float | None = None
    """Half the width of the mean's 95% interval; None if it is unknown."""
    num_values: int = 0
    num_seeds: int = 0
    best: bool = False
    protocols: tuple[ProtocolPair, ...] = ()
    """Protocol of each seed's measurement."""
    values: tuple[SeedValue, ...] = ()
    """Values of the seeds that are done."""
    basis: Basis | None = None
    """Errors that the interval covers."""
    digests: tuple[str, ...] = ()
    """Digests of the evaluate tasks that the number comes from, one a seed."""
    unfinished: CellStatus | None = None
    """Worst status of the seeds that are not in the mean; None without a mean, or if all seeds are in it."""

    @property
    def finite(self) -> bool:
        """True if it has a mean that can be ranked."""
        return self.mean is not None and math.isfinite(self.mean)


def aggregate(measurements: Sequence[Measurement]) -> Cell:
    """Average over the seeds that are done; if none is, take the worst status of all seeds."""
    protocols = tuple(m.protocols for m in measurements)
    digests = tuple(dict.fromkeys(m.digest for m in measurements))
    values = tuple(SeedValue(m.seed, m.value, m.standard_error, m.error) for m in measurements if m.value is not None)
    statuses = {m.status for m in measurements}
    worst: CellStatus = next((status for status in _WORST_FIRST if status in statuses), "missing")
    cell = _done_cell(values) if values else Cell(worst)
    unfinished = worst if values and worst != "done" else None
    return replace(cell, num_seeds=len(measurements), protocols=protocols, digests=digests, unfinished=unfinished)


def real_images_cell(metric: Metric, task: FloorTask, record: Record) -> Cell:
    """Return the score of real images by a metric; not planned if plan and record do not have the metric."""
    value = record.metrics.get(metric.name) if record.status == "done" else None
    protocols = (protocols_of(task.protocols, record, metric.name),)
    if value is None:
        awaited = metric.name in task.protocols and record.status != "done"
        return Cell(record.status, protocols=protocols) if awaited else Cell("not planned")
    protocol = protocols[0].effective
    error = standard_error(record, metric, protocol.num_samples if protocol else None)
    only = SeedValue(0, value, error, error_of(record, metric.name))
    return replace(_done_cell((only,)), protocols=protocols, digests=(task.digest,))


def _done_cell(values: tuple[SeedValue, ...]) -> Cell:
    """Return the cell of at least one value."""
    uncertainty = uncertainty_of_mean(values)
    return Cell(
        "done",
        mean([value.value for value in values]),
        uncertainty.half_width if uncertainty else None,
        len(values),
        len(values),
        values=values,
        basis=uncertainty.basis if uncertainty else None,
    )


def mean(values: Sequence[float]) -> float:
    """Return the mean of values, [N]; NaN if one is, or if infinities cancel."""
    return float(sum(values) / len(values))


def mean_without_bias(values: Sequence[SeedValue]) -> float | None:
    """Return the mean of scores without their estimated bias by finite samples; None if a record estimates none."""
    corrected = [None if value.error is None else value.error.corrected for value in values]
    known = [one for one in corrected if one is not None]
    return mean(known) if known and len(known) == len(values) else None


def interquartile_mean(values: Sequence[float]) -> float | None:
    """Return the mean of the middle half of values, [N]; None below four, which have no outer quarters to leave out."""
    if len(values) < _FEWEST_FOR_QUARTERS:
        return None
    cut = len(values) // 4
    return mean(sorted(values)[cut : len(values) - cut])


def probability_of_improvement(
    reference: Sequence[float], values: Sequence[float], better: Literal["lower", "higher"]
) -> float:
    """Return the share of all pairs of runs in which values, [M], are better than the reference, [N]; ties are half.

    Agarwal et al. (2021), of a single task.
    """
    sign = -1.0 if better == "lower" else 1.0
    gains = [sign * (value - other) for value in values for other in reference]
    return sum(1.0 if gain > 0 else 0.5 if gain == 0 else 0.0 for gain in gains) / len(gains)
