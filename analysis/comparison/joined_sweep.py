"""All that figures are made from: a plan, what was recorded for it, and the table's sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.comparison.compare import PartComparison, compare
from analysis.contract.record_schema import ACCELERATOR_SECONDS
from analysis.plan.model import PublishedPlan
from analysis.records.record import MISSING, Record
from analysis.results.cells import Section, lay_out
from analysis.results.measurements import Measurement, measure

Found = Mapping[str, Sequence[Measurement]]
"""Measurements that have a value, by row in the table's order; rows without any are absent."""


@dataclass(frozen=True)
class JoinedSweep:
    """A plan with its records, joined once."""

    plan: PublishedPlan
    records: Mapping[str, Record]
    measurements: tuple[Measurement, ...]
    sections: tuple[Section, ...]
    values: Mapping[tuple[str, str], Found]
    """By part and metric."""
    compared: tuple[PartComparison, ...]
    """Parts beside those of the paper; empty if the sweep stands beside no table."""
    printed: Mapping[tuple[str, str], Mapping[str, float]]
    """What the paper prints, by part and metric, then row; only what was measured at the same setting and alike."""

    @classmethod
    def of(cls, plan: PublishedPlan, records: Mapping[str, Record]) -> JoinedSweep:
        measurements = measure(plan, records)
        sections = lay_out(plan, measurements, records)
        compared = compare(plan, sections)
        return cls(plan, records, measurements, sections, _values(measurements), compared, _printed(plan, compared))

    def record(self, digest: str) -> Record:
        return self.records.get(digest, MISSING)

    def training_hours(self, digest: str) -> float | None:
        """Accelerator-hours of training behind an evaluation, at constant speed; None while any is unknown.

        Restarts are in it: a training's time counts over all its attempts.
        """
        seconds = 0.0
        for train, steps in self.plan.evaluations[digest].trained.items():
            task, spent = self.plan.trainings.get(train), self.record(train).metrics.get(ACCELERATOR_SECONDS)
            if task is None or spent is None or self.record(train).status != "done":
                return None
            seconds += spent * steps / task.until_step
        return seconds / 3600


def _values(measurements: Sequence[Measurement]) -> dict[tuple[str, str], dict[str, list[Measurement]]]:
    found: dict[tuple[str, str], dict[str, list[Measurement]]] = {}
    for m in measurements:
        if m.value is not None:
            found.setdefault((m.part, m.metric), {}).setdefault(m.row, []).append(m)
    return found


def _printed(plan: PublishedPlan, comparisons: Sequence[PartComparison]) -> dict[tuple[str, str], dict[str, float]]:
    if plan.published is None or not plan.published.same_setting:
        return {}
    return {
        (compared.section.part.name, column.metric.name): {
            row.label: row.published.value for row in column.rows if row.published is not None and not row.obstacle
        }
        for compared in comparisons
        for column in compared.metrics
    }
