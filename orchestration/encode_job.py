"""How an `encode` task is cut into calls of evaluators: a part of the dataset each, but those that are there."""

from __future__ import annotations

from orchestration.calls import Call, Job, JobContext
from orchestration.encoding import Part, PartReport
from orchestration.layout import TaskPaths
from orchestration.tasks import Task


def encode_job(task: Task, context: JobContext) -> Job:
    """Its parts, then the store's manifest and the record."""
    (num_parts,) = yield [Call("num_parts", (task,))]
    cards = set(context.store.names(f"{TaskPaths(task.digest).latents}/cards"))
    missing = [number for number in range(num_parts) if f"{number:05d}.json" not in cards]
    done = task.num_samples * (num_parts - len(missing)) // num_parts
    if done:
        context.reached(task, done, "before")
    reports: list[PartReport] = yield [
        Call("encode", (task, Part(number, num_parts)), key=f"{task.digest}/{number}") for number in missing
    ]
    spent = sum(report.seconds for report in reports)
    yield [Call("finish_encoding", (task, num_parts, context.clock(), spent))]
