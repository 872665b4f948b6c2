"""`--status`: the progress of a sweep, from plan, records, checkpoints and the driver's heartbeat. Needs no Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.console import clock, make_console
from orchestration.control.budget_meter import hours
from orchestration.control.heartbeat import Heartbeat, TaskProgress, find_driver
from orchestration.launch.summary import power_text, spent_text
from orchestration.launch.task_table import status_table
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.diff import changes_text
from orchestration.plan.estimate import Estimate, estimate_from
from orchestration.plan.plan import Plan
from orchestration.plan.progress import Progress
from orchestration.storage.store import Store
from orchestration.tasks.task import Task


@dataclass(frozen=True)
class SweepStatus:
    """Everything that `--status` prints."""

    driver: str
    states: Mapping[str, str]
    """States by digest; tasks that are not in it are to do."""
    counts: Mapping[str, int]
    """Number of tasks by "done", "running", "failed", "to do", "not needed"."""
    restarts: Mapping[str, int]
    """Number of restarts by title."""
    best: tuple[str, ...]
    """Lines about the best rows, and what can be said of the others."""
    accelerator_seconds: float
    left: Estimate
    waiting: tuple[str, ...] = ()
    """Lines about work that waits for room on the cluster."""


def sweep_status(plan: Plan, done: dict[str, TaskRecord], store: Store, progress: Progress) -> SweepStatus:
    """Ask the store; takes seconds where the last beat does not look fresh and is watched."""
    driver = find_driver(store, plan.spec.name)
    beat = driver.heartbeat
    running = {one.digest: one for one in beat.running} if beat is not None and driver.state == "running" else {}
    failed = beat.failed if beat is not None else {}
    wanted = {task.digest for task in tasks_to_run(plan, done)}
    states, counts = {}, Counter({"done": 0, "running": 0, "failed": 0, "to do": 0})
    for digest, task in plan.tasks.items():
        kind, states[digest] = _state(task, digest in done, running.get(digest), failed.get(digest), progress)
        counts[kind if kind != "to do" or digest in wanted else "not needed"] += 1
    return SweepStatus(
        driver=str(driver),
        states=states,
        counts=counts,
        restarts=_restarts(plan, beat),
        best=_standing_lines(plan, done, failed),
        accelerator_seconds=progress.spent,
        left=estimate_from(store, plan, done, progress),
        waiting=_waiting(beat) if beat is not None and driver.state == "running" else (),
    )


def print_status(
    plan: Plan, done: dict[str, TaskRecord], store: Store, status: SweepStatus, *, verbose: bool = False
) -> None:
    """Print the status as a table and some lines. Args: verbose: print every task."""
    console = make_console()
    console.print(status_table(plan, status.states, verbose=verbose))
    console.print(status.driver, markup=False)
    if changes := changes_text(plan, store):
        console.print(changes, markup=False)
    console.print(", ".join(f"{count} {state}" for state, count in status.counts.items()))
    for line in status.waiting:
        console.print(line, markup=False)
    for title, count in status.restarts.items():
        console.print(f"Started again {count} times in the last launch: {title}", markup=False)
    if status.best:
        console.print("Best so far, by the primary metric:")
    for line in status.best:
        console.print(f"  {line}", markup=False)
    for line in power_text(plan, done):
        console.print(line, markup=False)
    console.print(spent_text(status.accelerator_seconds, plan.spec.runtime), markup=False)
    if status.left.num_tasks:
        in_all = status.accelerator_seconds + status.left.accelerator_seconds
        planned = f"{hours(in_all)}{plan.spec.runtime.prices.beside(in_all)}"
        console.print(f"{status.left} With what is spent: {planned} in all.", markup=False)
    console.print(f"Storage: {store.root}")


def _standing_lines(plan: Plan, done: Mapping[str, TaskRecord], failed: Collection[str]) -> tuple[str, ...]:
    if not any(digest in done for trial in plan.trials for _, digest in trial.evaluations):
        return ()
    from orchestration.launch.standings import standing_lines  # scipy comes with it

    return tuple(standing_lines(plan, done, failed))


def _state(
    task: Task, is_done: bool, running: TaskProgress | None, failure: str | None, progress: Progress
) -> tuple[str, str]:
    """Return (kind of state, state in words)."""
    if is_done:
        return "done", "done"
    if running is not None:
        return "running", _progress(task, running)
    if failure is not None:
        return "failed", f"FAILED: {failure}"
    if task.digest in progress.steps:
        return "to do", f"to do, {progress.steps[task.digest]}/{task.total_units} steps are made"
    return "to do", "to do"


def _progress(task: Task, running: TaskProgress) -> str:
    text = f"running: {running.done}/{running.total} {task.unit}"
    if running.rate > 0:
        text += f", {running.rate:.1f} {task.unit}/s, ETA {clock(max(running.total - running.done, 0) / running.rate)}"
    return text


def _waiting(beat: Heartbeat) -> tuple[str, ...]:
    return tuple(one.text(beat.written_at) for one in beat.waiting)


def _restarts(plan: Plan, beat: Heartbeat | None) -> dict[str, int]:
    if beat is None:
        return {}
    titles = {digest: f"{task.kind} {task.title}" for digest, task in plan.tasks.items()}
    return {titles.get(key, key): count for key, count in beat.restarts.items()}
