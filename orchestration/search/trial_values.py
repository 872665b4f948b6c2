"""The values of a trial's objectives, from the records of its tasks. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.plan import Plan, Trial
from orchestration.spec.search.rows import sampling_costs
from orchestration.spec.search.section import COSTS, SearchConfig

_NO_VALUE = 1e300
"""Largest violation: no other is greater, and every database stores it."""


@dataclass(frozen=True)
class TrialTasks:
    """The tasks behind a trial of a search: those of its row, at every seed."""

    plan: Plan
    cells: tuple[Trial, ...]

    @classmethod
    def of(cls, plan: Plan, part: str, label: str) -> TrialTasks:
        return cls(plan, tuple(cell for cell in plan.trials if (cell.part, cell.row) == (part, label)))

    @property
    def digests(self) -> list[str]:
        """Digests of its trainings and evaluations, each once."""
        digests = [digest for cell in self.cells for digest in (*cell.trains, *(d for _, d in cell.evaluations))]
        return list(dict.fromkeys(digests))

    def failure(self, failed: Mapping[str, str]) -> str:
        """Return why it can have no value; "" if nothing of it failed.

        An evaluation whose snapshot was there may be done although its training failed later.
        """
        return next(
            (f"{self.plan.tasks[digest].title}: {failed[digest]}" for digest in self.digests if digest in failed), ""
        )

    def values(self, names: Sequence[str], done: Mapping[str, TaskRecord]) -> list[float] | None:
        """Return means over the seeds at the last step that the plan wants by now, NaN for those that are not finite.

        None while a seed is not measured.
        """
        records = []
        for cell in self.cells:
            digest = cell.evaluations[-1][1]
            if digest not in done:
                return None
            records.append((self.plan.tasks[digest].config, done[digest]))
        means = []
        for name in names:
            if name in COSTS:
                numbers = [float(sampling_costs(config)[name]) for config, _ in records]
            else:
                numbers = [record.metrics.get(name, math.nan) for _, record in records]
            mean = math.fsum(numbers) / len(numbers) if all(map(math.isfinite, numbers)) else math.nan
            means.append(mean)
        return means


def violations(config: SearchConfig, limited: Sequence[float]) -> dict[str, float]:
    """Return the excess of each value over its constraint, in the order of the constraints; NaN breaks every one."""
    return {
        name: _NO_VALUE if math.isnan(value) else limit.excess(value)
        for (name, limit), value in zip(config.constraints.items(), limited, strict=True)
    }
