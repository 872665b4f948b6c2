"""The best row so far, for each part and metric of a plan."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from dfm_core.catalog.metrics import METRICS, MetricName
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.plan import Plan


@dataclass(frozen=True)
class BestRow:
    """The best of the rows that are measured by now."""

    part: str
    metric: str
    row: str
    step: int
    value: float
    """Mean over the seeds that are measured."""
    num_seeds: int

    def __str__(self) -> str:
        seeds = f", mean of {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        return f"{self.part}: {self.metric} {self.value:.6g}, {self.row} @ {self.step}{seeds}"


def best_rows(plan: Plan, done: Mapping[str, TaskRecord]) -> list[BestRow]:
    """Return the best rows by part, in the plan's order, and metric; values that are not finite are left out."""
    measured: dict[tuple[str, MetricName], dict[tuple[str, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for trial in plan.trials:
        for step, digest in trial.evaluations:
            record = done.get(digest)
            for name in plan.evaluation(digest).protocols:
                value = math.nan if record is None else record.metrics.get(name, math.nan)
                if math.isfinite(value):
                    measured[trial.part, name][trial.row, step].append(value)
    best = []
    for (part, metric), rows in measured.items():
        sign = 1 if METRICS[metric].better == "lower" else -1
        (row, step), values = min(rows.items(), key=lambda entry: sign * sum(entry[1]) / len(entry[1]))
        best.append(BestRow(part, metric, row, step, sum(values) / len(values), len(values)))
    return best
