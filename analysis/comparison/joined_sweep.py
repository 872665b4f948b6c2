"""Everything that report and figures are made from: a plan, its records, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from analysis.comparison.across_parts import AcrossParts, compare_across_parts
from analysis.comparison.compare import PartComparison, compare
from analysis.comparison.flops_to_target import FoundTarget, find_targets
from analysis.contract.record_schema import ACCELERATOR_SECONDS
from analysis.plan.model import Metric, Part, PublishedPlan
from analysis.records.record import MISSING, Record
from analysis.results.measurements import Measurement, RowMeasurements, measure
from analysis.results.sections import Section, make_sections


@dataclass(frozen=True)
class JoinedSweep:
    """A plan with its records, joined once."""

    plan: PublishedPlan
    records: Mapping[str, Record]
    measurements: tuple[Measurement, ...]
    sections: tuple[Section, ...]
    values: Mapping[tuple[str, str], RowMeasurements]
    """Measurements by part and metric."""
    comparisons: tuple[PartComparison, ...]
    """Parts beside the paper's; empty if the sweep has no published table."""
    printed: Mapping[tuple[str, str], Mapping[str, float]]
    """The paper's numbers by part and metric, then row; only those of the same setting and protocol."""
    across_parts: AcrossParts | None = None
    """Rows over all parts that they stand in; None if no two rows share two parts."""

    @classmethod
    def of(cls, plan: PublishedPlan, records: Mapping[str, Record]) -> JoinedSweep:
        measurements = measure(plan, records)
        sections = make_sections(plan, measurements, records)
        comparisons = compare(plan, sections)
        printed = _printed(plan, comparisons)
        across = compare_across_parts(plan, sections)
        return cls(plan, records, measurements, sections, _values(measurements), comparisons, printed, across)

    @cached_property
    def targets(self) -> Mapping[str, tuple[FoundTarget, ...]]:
        """FLOPs to reach the best of the baselines, and declared targets, by part; each takes hundreds of draws."""
        return {part.name: tuple(find_targets(self.plan, part, self.values)) for part in self.plan.parts}

    def record(self, digest: str) -> Record:
        return self.records.get(digest, MISSING)

    def last_values(self, part: Part, metric: Metric) -> dict[str, list[Measurement]]:
        """Return, by row, the values at the row's last evaluation, one a seed; rows without any are absent."""
        values = {}
        for row, measurements in self.values.get((part.name, metric.name), {}).items():
            step = self.plan.trials_of(part.name, row)[0].evaluations[-1][0]
            seeds = [m for m in measurements if m.step == step]
            if seeds:
                values[row] = seeds
        return values

    def training_hours(self, digest: str) -> float | None:
        """Return the accelerator-hours of training behind an evaluation, at constant speed; None while any is unknown.

        Restarts are included: a training's time counts over all its attempts.
        """
        seconds = 0.0
        for train, steps in self.plan.evaluations[digest].trained.items():
            task, spent = self.plan.trainings.get(train), self.record(train).metrics.get(ACCELERATOR_SECONDS)
            if task is None or spent is None or self.record(train).status != "done":
                return None
            seconds += spent * steps / task.until_step
        return seconds / 3600


def _values(measurements: Sequence[Measurement]) -> dict[tuple[str, str], dict[str, list[Measurement]]]:
    values: dict[tuple[str, str], dict[str, list[Measurement]]] = {}
    for m in measurements:
        if m.value is not None:
            values.setdefault((m.part, m.metric), {}).setdefault(m.row, []).append(m)
    return values


def _printed(plan: PublishedPlan, comparisons: Sequence[PartComparison]) -> dict[tuple[str, str], dict[str, float]]:
    if plan.published is None or not plan.published.same_setting:
        return {}
    return {
        (comparison.section.part.name, column.metric.name): {
            row.label: row.published.value
            for row in column.rows
            if row.published is not None and not row.setting_difference
        }
        for comparison in comparisons
        for column in comparison.metrics
    }
