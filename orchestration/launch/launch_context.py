"""The objects that all steps of one launch share."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.notifier import Notifier
from orchestration.control.outcome import Outcome
from orchestration.launch.progress_display import Display
from orchestration.plan.plan import Plan
from orchestration.plan.throughput import Speed
from orchestration.storage.store import Store
from orchestration.tasks.task import Task

if TYPE_CHECKING:
    from orchestration.tracking.tracker import TaskTracker


class GrowingPlan(Protocol):
    """A plan that grows while it runs: the searches of a sweep."""

    def advance(self, outcome: Outcome, num_slots: int) -> Plan | None:
        """Return the plan if it has grown, after adding known records to the outcome.

        Args: num_slots: trials to keep running.
        """
        ...

    @property
    def is_undecided(self) -> bool:
        """Return whether somebody decides just now what comes next, although nothing may run or wait."""
        ...

    def on_ray(self) -> AbstractContextManager[None]:
        """Use the cluster that this process is connected to while the block runs."""
        ...


@dataclass(frozen=True)
class LaunchContext:
    """One launch of a plan: its store, its outcome so far, and those who are told of its tasks."""

    plan: Plan
    """As it is at the start of the launch."""
    store: Store
    outcome: Outcome
    """Holds the records of completed tasks at the start, and is kept up to date."""
    tracker: TaskTracker
    display: Display
    meter: BudgetMeter
    searches: GrowingPlan | None = None
    """Asked in every round; None: the plan stays as it is."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """Measured speeds of trainings, by model size."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Steps of unfinished trainings that need not be made again, by digest."""
    notifier: Notifier | None = None
    """Told of tasks that fail; None: nobody is."""
    verbose: bool = False
    """Print every task in the end, not a line a row."""

    @property
    def workers(self) -> WorkersConfig:
        return self.plan.spec.runtime.workers

    def mark_stopped(self, task: Task, how: str) -> None:
        """Tell outcome, meter and display of a running task that was stopped."""
        self.outcome.stopped[task.digest] = how
        self.meter.ended(task.digest, None)
        self.display.ended(task, how)
