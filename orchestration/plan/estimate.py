"""Estimated cost of what a plan has still to run: FLOPs from formulas, hours from measured or assumed speed."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.wording import bytes_text, counted, duration_text
from orchestration.config.prices import PricesConfig
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import hours
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.evaluation_families import family_flops, group_into_families
from orchestration.plan.executed_flops import executed_flops
from orchestration.plan.measuring_cost import looking_flops
from orchestration.plan.plan import Plan
from orchestration.plan.progress import Progress
from orchestration.plan.throughput import Speed, measured_sampling, measured_speeds
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, Task, TrainTask

_EVALUATION_OVERHEAD = 1.3
"""Measured on the quickstart: reading, writing and merging beside the FLOPs of sampling and of feature networks."""
_EVALUATION_SECONDS = 0.25
"""Measured on evaluations of 8 samples: sums, errors, grids and record, whatever the number of samples."""
_START_SECONDS = 15.0
"""Measured on 2 CPU workers: from a cold start of Ray Train's workers to the first step."""
_WARM_SECONDS = 1.2
"""The same of a training on workers that are there already."""


@dataclass(frozen=True)
class Estimate:
    """Cost of the tasks that are to do."""

    num_tasks: int
    training_flops: float
    sampling_flops: float
    num_bytes: int
    accelerator_seconds: float
    """All of them, those of the start included."""
    basis: str
    """Origin of the speed, for people."""
    speeds: Mapping[str, Speed] = field(default_factory=dict)
    """Measured speeds of trainings, by model size."""
    startup_seconds: float = 0.0
    """Accelerator-seconds in which workers of trainings start."""
    prices: PricesConfig = field(default_factory=PricesConfig)
    num_workers: int = 1
    """Workers of a training."""
    sampling_speeds: Mapping[str, float] = field(default_factory=dict)
    """Measured FLOP/s of evaluations, by model size."""

    def __str__(self) -> str:
        return (
            f"To do: {self.training_flops:.3g} FLOPs of training, at most {self.sampling_flops:.3g} of sampling (kept "
            f"features are not sampled again), about {bytes_text(self.num_bytes)}; "
            f"{self.time_text(self.accelerator_seconds)} {self.basis}"
            f"{f', {hours(self.startup_seconds)} of them to start workers' if self.startup_seconds else ''}."
        )

    def time_text(self, accelerator_seconds: float) -> str:
        """Return how long some work takes on the workers of one training, and its cost in accelerator-hours."""
        wall = duration_text(accelerator_seconds / self.num_workers)
        cost = f"{hours(accelerator_seconds)} accelerator-hours{self.prices.beside(accelerator_seconds)}"
        return f"about {wall} on {counted(self.num_workers, 'worker')}, {cost}"


def estimate(
    plan: Plan,
    done: Container[str],
    steps: Mapping[str, int],
    speeds: Mapping[str, Speed],
    sampling_speeds: Mapping[str, float] | None = None,
) -> Estimate:
    """Return what the unfinished tasks cost.

    Args: steps: of unfinished trainings that are made already. speeds: of trainings, measured, by model size.
        sampling_speeds: FLOP/s of evaluations, likewise.
    """
    workers, todo = plan.spec.runtime.workers, tasks_to_run(plan, done)
    trainings = [task for task in todo if isinstance(task, TrainTask)]
    left = {
        task.digest: 1 - max(0, steps.get(task.digest, 0) - task.start_step) / max(1, task.num_steps)
        for task in trainings
    }
    seconds = sum(left[task.digest] * _training_seconds(task, workers, speeds) for task in trainings)
    startup = _startup_seconds(trainings, workers, speeds)
    sampling = 0.0
    for family in group_into_families([task for task in todo if isinstance(task, EvaluateTask)]):
        flops = family_flops(family)
        sampling += flops
        measured = (sampling_speeds or {}).get(family[0].config.model.size)
        seconds += flops / measured if measured else _measuring_seconds(family, flops, workers, speeds)
    looking = sum(looking_flops(task) for task in todo if not isinstance(task, EvaluateTask))
    seconds += looking / workers.assumed_flops(on_gpu=workers.gpus_per_evaluator > 0)
    num_bytes = sum(task.num_bytes for task in todo)
    basis = _basis(todo, speeds, workers.assumed_flops(on_gpu=workers.use_gpu))
    total = sum(left[task.digest] * task.flops for task in trainings)
    prices = plan.spec.runtime.prices
    return Estimate(
        len(todo),
        total,
        sampling,
        num_bytes,
        seconds + startup,
        basis,
        speeds,
        startup,
        prices,
        workers.num_workers,
        sampling_speeds or {},
    )


def _measuring_seconds(
    family: Sequence[EvaluateTask], flops: float, workers: WorkersConfig, speeds: Mapping[str, Speed]
) -> float:
    """Return the seconds of evaluations that run together, without any record of such."""
    looking = sum(looking_flops(task) for task in family)
    looking /= workers.assumed_flops(on_gpu=workers.gpus_per_evaluator > 0)
    own = flops / _speed(family[0], workers, speeds)
    return _EVALUATION_OVERHEAD * (own + looking) + _EVALUATION_SECONDS * len(family)


def _startup_seconds(trainings: Sequence[TrainTask], workers: WorkersConfig, speeds: Mapping[str, Speed]) -> float:
    """Return the accelerator-seconds in which workers start: measured, else cold once for all that share them."""
    seconds, is_cold = 0.0, True
    for task in trainings:
        shares = is_short(task, workers, speeds)
        measured = speeds.get(task.config.model.size)
        assumed = _WARM_SECONDS if shares and not is_cold else _START_SECONDS
        is_cold = is_cold and not shares
        seconds += assumed if measured is None or measured.startup_seconds is None else measured.startup_seconds
    return seconds * workers.num_workers


def is_short(task: Task, workers: WorkersConfig, speeds: Mapping[str, Speed]) -> bool:
    """Return whether a training should take less than `workers.reuse_under_minutes`; of an autoencoder's nobody knows.

    Args: speeds: measured, by model size.
    """
    if not isinstance(task, TrainTask):
        return False
    seconds = _training_seconds(task, workers, speeds) / workers.num_workers
    return seconds < 60.0 * workers.reuse_under_minutes


def _training_seconds(task: TrainTask, workers: WorkersConfig, speeds: Mapping[str, Speed]) -> float:
    """Return the accelerator-seconds of a training's own steps."""
    flops = executed_flops(task.config, task.flops, task.num_steps, workers)
    return flops / _speed(task, workers, speeds)


def _speed(task: Task, workers: WorkersConfig, speeds: Mapping[str, Speed]) -> float:
    measured = speeds.get(task.config.model.size)
    on_gpu = workers.use_gpu if isinstance(task, TrainTask) else workers.gpus_per_evaluator > 0
    return workers.assumed_flops(on_gpu=on_gpu) if measured is None else measured.flops_per_worker


def estimate_from(store: Store, plan: Plan, done: dict[str, TaskRecord], progress: Progress) -> Estimate:
    """Return the estimate at the speed of the storage root's finished tasks of the same model size, if any."""
    searched = [str(search.base.model.size) for search in plan.spec.searches]
    sizes = sorted({*_sizes(tasks_to_run(plan, done)), *searched})
    sampling_speeds = measured_sampling(store, plan, done, sizes)
    return estimate(plan, done, progress.steps, measured_speeds(store, plan, done, sizes), sampling_speeds)


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
