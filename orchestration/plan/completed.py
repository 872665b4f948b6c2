"""Tasks that are done already, and those that must run: read from the store alone, without any heavy library.

Records are kept without their curves: what a driver holds of a task that is done must not grow with its steps.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import replace

from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.plan.plan import Plan
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, RealImagesTask, Task, TrainingTask, TrainTask

_SHOWN_IN_TABLES = (TrainTask, EvaluateTask, RealImagesTask)


def completed_record(store: Store, task: Task) -> TaskRecord | None:
    """Return the task's record, less its curve, if everything that the plan wants of it is there."""
    until_step = task.until_step if isinstance(task, TrainingTask) else 0
    record = finished_record(store, task.digest, until_step, task.artifacts)
    if record is None or any(not store.exists(TaskPaths(task.digest).result_file(name)) for name in record.files):
        return None
    return replace(record, curve=())


def finished_record(store: Store, digest: str, until_step: int, artifacts: Iterable[str]) -> TaskRecord | None:
    """Return a task's record if it reaches a step and all of the task's artifacts are published."""
    record = read_record(store, digest)
    if record is None or record.step < until_step or any(store.manifest(place) is None for place in artifacts):
        return None
    return record


def completed_records(store: Store, plan: Plan) -> dict[str, TaskRecord]:
    """Return the records of all finished tasks by digest, see `completed_record`."""
    records = {digest: completed_record(store, task) for digest, task in plan.tasks.items()}
    done = {digest: record for digest, record in records.items() if record is not None}
    read_here: set[str] = set()
    for digest, task in reversed(plan.tasks.items()):  # readers before their inputs, which may be trainings themselves
        if digest not in done and digest not in read_here and (record := _imported_record(store, task)) is not None:
            done[digest] = record
        if digest not in done:
            read_here.update(task.inputs)
    return done


def _imported_record(store: Store, task: Task) -> TaskRecord | None:
    """Return the record of a training that was made elsewhere, where its snapshots are; nothing here reads them."""
    if not isinstance(task, TrainTask) or not store.exists(TaskPaths(task.digest).imported):
        return None
    record = finished_record(store, task.digest, task.until_step, ())
    return None if record is None else replace(record, curve=())


def tasks_to_run(plan: Plan, done: Container[str]) -> list[Task]:
    """Return unfinished tasks that tables show, and the unfinished ones that these read."""
    wanted: set[str] = set()
    pending = [digest for digest, task in plan.tasks.items() if isinstance(task, _SHOWN_IN_TABLES)]
    while pending:
        digest = pending.pop()
        if digest not in done and digest not in wanted:
            wanted.add(digest)
            pending.extend(plan.tasks[digest].inputs)
    return [task for digest, task in plan.tasks.items() if digest in wanted]
