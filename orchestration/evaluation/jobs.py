"""Jobs: tasks cut into calls of evaluators, as generators that yield calls and are sent their results.

A job yields the calls that can run at once and is sent their results, in order, when all are there. Large results stay
with Ray as references, which later calls are given; only reports of groups come to the driver.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from orchestration.artifacts.samples.features import groups_of
from orchestration.evaluation.messages import Call, Cost, GroupReport, GroupWork, Job, JobContext
from orchestration.evaluation.missing_work import missing_work
from orchestration.storage.layout import TaskPaths
from orchestration.tasks.task import (
    EncodeTask,
    EvaluateTask,
    MeasuringTask,
    MetricTask,
    ProbeTask,
    PyramidTask,
    ReferenceTask,
    Source,
    Task,
)

_LEAF_GROUPS, _MOST_LEAVES = 8, 8
"""Minimum of groups that a call sums, and maximum of such calls: sums of 2048 dimensions take 32 MiB each. Both follow
from the number of samples alone, like the tree above them: the order of additions, and so the last bits of a sum, do
not depend on the number of evaluators."""
_FINISHED_AT_ONCE = 4
"""Tasks of a family whose sums are with Ray at the same time."""


def job_of(tasks: Sequence[Task], context: JobContext) -> Job:
    """Return the job of a task, or of a family of evaluate tasks on one snapshot."""
    match tasks[0]:
        case PyramidTask() as task:
            return _single("fit_pyramid", task)
        case EncodeTask() as task:
            return encode_job(task, context)
        case ReferenceTask(sources=()) as task:
            return _single("import_reference", task)
        case _:
            return _measure([task for task in tasks if isinstance(task, MeasuringTask)], context)


def run_job(job: Job, evaluator: Any) -> None:
    """Run a job to its end on one evaluator in this process. Raises: the errors of its calls."""
    results: list[Any] | None = None
    while True:
        try:
            calls = job.send(results)  # type: ignore[arg-type]
        except StopIteration:
            return
        answers = [(call, getattr(evaluator, call.method)(*call.arguments)) for call in calls]
        results = [answer[1] if call.large else answer for call, answer in answers]


def _single(method: str, task: Task) -> Job:
    yield [Call(method, (task,))]


def _measure(tasks: list[MeasuringTask], context: JobContext) -> Job:
    """Make the features of every source of every task, sum them, and finish each task."""
    reports, before = context.reports, len(context.reports)
    for position in range(len(tasks[0].sources)):
        works = missing_work([(task, task.sources[position]) for task in tasks], context)
        answers = yield [Call("features", (work,), key=_key(work, context)) for work in works]
        reports.extend(zip(works, answers, strict=True))
    sound = []
    for task in tasks:
        if reason := _unsound(task, [report for _, report in reports[before:]]):
            context.failed(task, reason)
        else:
            sound.append(task)
    for begin in range(0, len(sound), _FINISHED_AT_ONCE):
        some = sound[begin : begin + _FINISHED_AT_ONCE]
        yield from _side_by_side([_finish(task, tasks, reports, context) for task in some])


def _finish(
    task: MeasuringTask, family: Sequence[Task], reports: Sequence[tuple[GroupWork, GroupReport]], context: JobContext
) -> Job:
    """Sum the features of a task and write its record."""
    statistics = []
    for position, source in enumerate(task.sources):
        if not isinstance(task, ProbeTask):
            statistics.append((yield from _sums(task, position, source)))
    about = {"sharing": _sharing(family, reports)} if isinstance(task, EvaluateTask) else {}
    yield [Call("finish", (task, about, context.clock(), _cost_of(task, reports), *statistics))]


def errors_job(task: MetricTask, context: JobContext) -> Job:
    """Compute the errors of a finished task from its stored features alone; it fails if some are not there."""
    statistics = []
    for position, source in enumerate(task.sources):
        works = missing_work([(task, source)], context)
        if any(missing.networks for work in works for missing in work.missing):
            context.failed(task, "its features are not stored")
            return
        statistics.append((yield from _sums(task, position, source)))
    yield [Call("finish_errors", (task, *statistics))]


def _side_by_side(jobs: Sequence[Job]) -> Job:
    """Run several jobs side by side: their next calls are yielded together."""
    waiting: dict[int, list[Call] | None] = {number: next(job, None) for number, job in enumerate(jobs)}
    while going := {number: calls for number, calls in waiting.items() if calls is not None}:
        results = yield [call for calls in going.values() for call in calls]
        rest = iter(results)
        for number, calls in going.items():
            own = [next(rest) for _ in calls]
            try:
                waiting[number] = jobs[number].send(own)
            except StopIteration:
                waiting[number] = None


def _key(work: GroupWork, context: JobContext) -> str:
    """Return the key of a group of real images, which several tasks share if features are kept; "" for generated ones,
    which belong to one family."""
    source, networks = work.missing[0].source, ",".join(work.missing[0].networks)
    return (
        f"{source.digest}/{work.group.begin}-{work.group.end}/{networks}"
        if source.split and context.keep_features
        else ""
    )


def _sums(task: Task, position: int, source: Source) -> Generator[list[Call], list[Any], Any]:
    """Sum over all groups of a source: leaves of some groups each, merged pairwise."""
    groups = groups_of(source.num_samples)
    size = max(_LEAF_GROUPS, -(-len(groups) // _MOST_LEAVES))
    leaves = [groups[begin : begin + size] for begin in range(0, len(groups), size)]
    parts = yield [Call("gather", (task, position, leaf), large=True) for leaf in leaves]
    while len(parts) > 1:
        pairs = [parts[begin : begin + 2] for begin in range(0, len(parts) - 1, 2)]
        rest = parts[2 * len(pairs) :]
        merged = yield [Call("merge", tuple(pair), large=True) for pair in pairs]
        parts = [*merged, *rest]
    return parts[0]


def _unsound(task: MeasuringTask, reports: Sequence[GroupReport]) -> str:
    """Return why a task cannot be finished; "" if it can."""
    bad = sorted(index for report in reports for index in report.unsound.get(task.digest, ()))
    if bad:
        total = sum(source.num_samples for source in task.sources)
        named = ", ".join(map(str, bad[:10])) + (", ..." if len(bad) > 10 else "")
        return f"{len(bad)} of {total} samples hold NaN or infinite values: {named}"
    errors = [report.errors[task.digest] for report in reports if task.digest in report.errors]
    return errors[0] if errors else ""


def _cost_of(task: Task, reports: Sequence[tuple[GroupWork, GroupReport]]) -> Cost:
    """Return the cost of this attempt; the common work of a family counts in equal shares."""
    own = [(work, report) for work, report in reports if task.digest in {one.task.digest for one in work.missing}]
    return Cost(
        seconds=sum(report.seconds / len(work.missing) for work, report in own),
        images=sum(work.group.num_samples for work, _ in own),
        network_evaluations=sum(report.network_evaluations / len(work.missing) for work, report in own),
    )


def _sharing(tasks: Sequence[Task], reports: Sequence[tuple[GroupWork, GroupReport]]) -> dict[str, int]:
    """Return how many network evaluations sampling took for all points that were sampled together."""
    return {
        "points": len(tasks),
        "network_evaluations": sum(report.network_evaluations for _, report in reports),
    }


def encode_job(task: EncodeTask, context: JobContext) -> Job:
    """Encode the missing parts, then write the store's manifest and the record."""
    (num_parts,) = yield [Call("num_parts", (task,))]
    cards = set(context.store.names(f"{TaskPaths(task.digest).latents}/cards"))
    missing = [number for number in range(num_parts) if f"{number:05d}.json" not in cards]
    done = task.num_samples * (num_parts - len(missing)) // num_parts
    if done:
        context.reached(task, done, "before")
    seconds: list[float] = yield [
        Call("encode", (task, number, num_parts), key=f"{task.digest}/{number}") for number in missing
    ]
    yield [Call("finish_encoding", (task, num_parts, context.clock(), sum(seconds)))]
