"""The outcome of a launch: what is done, what failed, and why it ended before its plan was done, if it did."""

from __future__ import annotations

from dataclasses import dataclass, field

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.exit_codes import EXIT_BUDGET_SPENT, EXIT_STOPPED
from orchestration.control.budget_meter import HOUR, BudgetMeter, hours

OPTION = "--max-accelerator-hours"


@dataclass(frozen=True)
class EarlyExit:
    """An end before the plan is done."""

    exit_code: int
    reason: str
    how_to_go_on: str
    cluster_is_lost: bool = False
    """If set, nothing that runs can be asked to stop, or waited for."""
    is_fenced: bool = False
    """If set, this driver may write nothing more of its sweep: no checkpoint, no report."""


@dataclass
class Outcome:
    """The tasks of a plan that are done, failed or were stopped."""

    done: dict[str, TaskRecord]
    failed: dict[str, str] = field(default_factory=dict)
    """Reasons by digest; tasks whose inputs failed are among them."""
    early_exit: EarlyExit | None = None
    """Set if the launch ended before all was done."""
    stopped: dict[str, str] = field(default_factory=dict)
    """Description of each task that was running at an early exit, by digest."""

    @property
    def states(self) -> dict[str, str]:
        """States for people, by digest."""
        failed = {digest: f"FAILED: {why}" for digest, why in self.failed.items()}
        return dict.fromkeys(self.done, "done") | self.stopped | failed


def budget_spent(meter: BudgetMeter, limit_hours: float) -> EarlyExit:
    return EarlyExit(
        EXIT_BUDGET_SPENT,
        f"{hours(meter.spent)} of {limit_hours:g} accelerator-hours are spent (workers.max_accelerator_hours)",
        f"the same command with a higher limit, e.g. {OPTION} {_higher(meter.spent, limit_hours):g}, goes on from here",
    )


def stop_requested() -> EarlyExit:
    return EarlyExit(EXIT_STOPPED, "it was asked to by `--stop`", "the same command goes on from here")


def _higher(spent: float, limit_hours: float) -> float:
    """Return twice what is spent, in two digits."""
    return float(f"{2 * max(spent / HOUR, limit_hours):.2g}")
