"""`--status`: how far a sweep is, from plan, records, checkpoints and the driver's heartbeat. Needs no Ray."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.console import clock, make_console
from orchestration.control.budget_meter import hours
from orchestration.control.heartbeat import DamagedHeartbeatError, Driver, Heartbeat, TaskProgress, find_driver
from orchestration.launch.summary import spent_text
from orchestration.launch.task_table import status_table
from orchestration.plan.best_rows import BestRow, best_rows
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.diff import changes_text
from orchestration.plan.estimate import Estimate, estimate_from
from orchestration.plan.plan import Plan
from orchestration.plan.progress import Progress
from orchestration.storage.store import Store
from orchestration.tasks.task import Task


@dataclass(frozen=True)
class SweepStatus:
    """All that `--status` says."""

    driver: str
    states: Mapping[str, str]
    """By digest; what is not in it is to do."""
    counts: Mapping[str, int]
    """Tasks by "done", "running", "failed", "to do", "not needed"."""
    restarts: Mapping[str, int]
    """By title."""
    best: tuple[BestRow, ...]
    accelerator_seconds: float
    left: Estimate


def sweep_status(plan: Plan, done: dict[str, TaskRecord], store: Store, stands: Progress) -> SweepStatus:
    """Asks the store; takes seconds where it has to watch whether a driver is still there."""
    try:
        driver: Driver = find_driver(store, plan.spec.name)
        said = str(driver)
    except DamagedHeartbeatError as error:
        driver, said = Driver("none"), f"Whether a driver is running is not known: {error}."
    beat = driver.heartbeat
    running = {one.digest: one for one in beat.running} if beat is not None and driver.state == "running" else {}
    failed = beat.failed if beat is not None else {}
    wanted = {task.digest for task in tasks_to_run(plan, done)}
    states, counts = {}, Counter({"done": 0, "running": 0, "failed": 0, "to do": 0})
    for digest, task in plan.tasks.items():
        kind, states[digest] = _state(task, digest in done, running.get(digest), failed.get(digest), stands)
        counts[kind if kind != "to do" or digest in wanted else "not needed"] += 1
    return SweepStatus(
        driver=said,
        states=states,
        counts=counts,
        restarts=_restarts(plan, beat),
        best=tuple(best_rows(plan, done)),
        accelerator_seconds=stands.spent,
        left=estimate_from(store, plan, done, stands),
    )


def print_status(plan: Plan, done: dict[str, TaskRecord], store: Store, stands: Progress) -> None:
    """The status in a table and some lines."""
    console, status = make_console(), sweep_status(plan, done, store, stands)
    console.print(status_table(plan, status.states))
    console.print(status.driver, markup=False)
    if changes := changes_text(plan, store):
        console.print(changes, markup=False)
    console.print(", ".join(f"{count} {state}" for state, count in status.counts.items()))
    for title, count in status.restarts.items():
        console.print(f"Started again {count} times in the last launch: {title}", markup=False)
    if status.best:
        console.print("Best so far:")
    for row in status.best:
        console.print(f"  {row}", markup=False)
    limit = plan.spec.runtime.workers.max_accelerator_hours
    console.print(spent_text(status.accelerator_seconds, limit))
    if status.left.num_tasks:
        planned = hours(status.accelerator_seconds + status.left.accelerator_seconds)
        console.print(f"{status.left} With what is spent: {planned} in all.", markup=False)
    console.print(f"Storage: {store.root}")


def _state(
    task: Task, is_done: bool, running: TaskProgress | None, failure: str | None, stands: Progress
) -> tuple[str, str]:
    """(kind of state, state in words)."""
    if is_done:
        return "done", "done"
    if running is not None:
        return "running", _progress(task, running)
    if failure is not None:
        return "failed", f"FAILED: {failure}"
    if task.digest in stands.steps:
        return "to do", f"to do, {stands.steps[task.digest]}/{task.total_units} steps are made"
    return "to do", "to do"


def _progress(task: Task, running: TaskProgress) -> str:
    text = f"running: {running.done}/{running.total} {task.unit}"
    if running.rate > 0:
        text += f", {running.rate:.1f} {task.unit}/s, ETA {clock(max(running.total - running.done, 0) / running.rate)}"
    return text


def _restarts(plan: Plan, beat: Heartbeat | None) -> dict[str, int]:
    found = beat.restarts if beat is not None else {}
    named = {digest: f"{task.kind} {task.title}" for digest, task in plan.tasks.items()}
    return {named.get(key, key): count for key, count in found.items()}
