"""What is done already: asked of the store alone, without any heavy library.

Records are kept without their curves: what a driver holds of a task that is done must not grow with its steps.
"""

from __future__ import annotations

from dataclasses import replace

from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.plan.plan import Plan
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import Task


def completed_record(store: Store, task: Task) -> TaskRecord | None:
    """The task's record, less its curve, if everything that the plan wants of it is there."""
    result = read_record(store, task.digest)
    if result is None:
        return None
    if task.kind == "train":
        paths = TaskPaths(task.digest)
        if result.step < task.until_step:
            return None
        wanted = [*map(paths.snapshot, task.snapshot_steps), *map(paths.raw_weights, task.raw_steps)]
        if any(store.manifest(directory) is None for directory in wanted):
            return None
    if task.kind == "finetune_autoencoder" and store.manifest(TaskPaths(task.digest).autoencoder) is None:
        return None
    if any(not store.exists(TaskPaths(task.digest).result_file(name)) for name in result.files):
        return None
    return replace(result, curve=())


def demand_of(task: Task) -> tuple[object, ...]:
    """What a plan wants of a task that can be more than before although its digest is the same."""
    return task.until_step, task.snapshot_steps, task.raw_steps


def completed_records(store: Store, plan: Plan) -> dict[str, TaskRecord]:
    """Records of all finished tasks by digest, see `completed_record`."""
    found = {digest: completed_record(store, task) for digest, task in plan.tasks.items()}
    return {digest: result for digest, result in found.items() if result is not None}


def tasks_to_run(plan: Plan, done: dict[str, TaskRecord]) -> list[Task]:
    """Tasks that must run: what is unfinished and shown in tables, and what it reads, as far as it is unfinished."""
    wanted: set[str] = set()
    asked = [task.digest for kind in ("train", "evaluate", "floor") for task in plan.of_kind(kind)]
    while asked:
        digest = asked.pop()
        if digest not in done and digest not in wanted:
            wanted.add(digest)
            asked.extend(plan.tasks[digest].inputs)
    return [task for digest, task in plan.tasks.items() if digest in wanted]
