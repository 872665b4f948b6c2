"""Estimated cost of what a plan has still to run: FLOPs from formulas, hours from measured or assumed speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.counts import counted
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import hours
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.evaluation_families import family_flops, group_into_families
from orchestration.plan.plan import Plan
from orchestration.plan.progress import Progress
from orchestration.plan.throughput import Speed, measured_speeds
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask

_EVALUATION_OVERHEAD = 1.3
"""Measured on the quickstart: feature extraction and merging beside the sampling's own FLOPs."""


@dataclass(frozen=True)
class Estimate:
    """Cost of the tasks that are to do."""

    num_tasks: int
    training_flops: float
    sampling_flops: float
    num_bytes: int
    accelerator_seconds: float
    basis: str
    """Origin of the speed, for people."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """Measured speeds, by model size."""

    def __str__(self) -> str:
        return (
            f"To do: {self.training_flops:.3g} FLOPs of training, at most {self.sampling_flops:.3g} of sampling (kept "
            f"features are not sampled again), about {self.num_bytes / 1e6:,.0f} MB; "
            f"about {hours(self.accelerator_seconds)} accelerator-hours {self.basis}."
        )


def estimate(
    plan: Plan, done: dict[str, TaskRecord], steps: Mapping[str, int], speeds: Mapping[str, Speed]
) -> Estimate:
    """Return what the unfinished tasks cost.

    Args: steps: of unfinished trainings that are made already. speeds: measured, by model size.
    """
    workers, todo = plan.spec.runtime.workers, tasks_to_run(plan, done)
    training, sampling, seconds = 0.0, 0.0, 0.0
    for task in todo:
        if isinstance(task, TrainTask):
            made = max(0, steps.get(task.digest, 0) - task.start_step)
            flops = task.flops * (1 - made / task.num_steps)
            training += flops
            seconds += flops / _speed(task, workers, speeds)
    for family in group_into_families([task for task in todo if isinstance(task, EvaluateTask)]):
        flops = family_flops(family)
        sampling += flops
        seconds += _EVALUATION_OVERHEAD * flops / _speed(family[0], workers, speeds)
    num_bytes = sum(task.num_bytes for task in todo)
    basis = _basis(todo, speeds, workers.assumed_flops_per_worker)
    return Estimate(len(todo), training, sampling, num_bytes, seconds, basis, speeds)


def is_short(task: Task, workers: WorkersConfig, speeds: Mapping[str, Speed]) -> bool:
    """Return whether a training should take less than `workers.reuse_under_minutes`; of an autoencoder's nobody knows.

    Args: speeds: measured, by model size.
    """
    if not isinstance(task, TrainTask):
        return False
    seconds = task.flops / (workers.num_workers * _speed(task, workers, speeds))
    return seconds < 60.0 * workers.reuse_under_minutes


def _speed(task: Task, workers: WorkersConfig, speeds: Mapping[str, Speed]) -> float:
    measured = speeds.get(task.config.model.size)
    return workers.assumed_flops_per_worker if measured is None else measured.flops_per_worker


def estimate_from(store: Store, plan: Plan, done: dict[str, TaskRecord], progress: Progress) -> Estimate:
    """Return the estimate at the speed of the storage root's finished trainings of the same model size, if any."""
    speeds = measured_speeds(store, plan, done, _sizes(tasks_to_run(plan, done)))
    return estimate(plan, done, progress.steps, speeds)


def _sizes(todo: Sequence[Task]) -> list[str]:
    """Return the sizes of the models that are trained or sampled."""
    return sorted({str(task.config.model.size) for task in todo if isinstance(task, (TrainTask, EvaluateTask))})


def _basis(todo: Sequence[Task], speeds: Mapping[str, Speed], assumed: float) -> str:
    sizes = _sizes(todo)
    measured = [
        f"{speeds[size].flops_per_worker:.2g} FLOP/s a worker, measured on "
        f"{counted(speeds[size].num_trainings, 'finished training')} of size {size}"
        + (f" on {speeds[size].device}" if speeds[size].device else "")
        for size in sizes
        if size in speeds
    ]
    without = [size for size in sizes if size not in speeds]
    if without or not measured:
        of = f" for size {', '.join(without)}" if measured else ""
        measured.append(f"an assumed {assumed:.2g} FLOP/s a worker{of} (workers.assumed_flops_per_worker)")
    return f"at {' and '.join(measured)}"
