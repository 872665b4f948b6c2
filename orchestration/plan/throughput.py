"""Speed of the storage root's finished trainings and evaluations: measured FLOP/s of a worker, by model size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from orchestration.artifacts.task_record import COST_METRIC, EXECUTED, STARTUP, TaskRecord, read_record
from orchestration.plan.plan import Plan
from orchestration.plan.published import PublishedPlan, UnreadablePlanError, published_sweeps, read_published
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, TrainTask

_MOST_EVALUATIONS = 12
"""Records of evaluations that are read of other sweeps: one request each."""


@dataclass(frozen=True)
class Speed:
    """Mean speed of the trainings of one model size over their accelerator time, less their start."""

    flops_per_worker: float
    """FLOP/s."""
    num_trainings: int
    device: str = ""
    """GPU that they ran on; "": CPUs, or not recorded."""
    startup_seconds: float | None = None
    """Mean time from the begin of an attempt to its first step; None: not recorded."""


@dataclass(frozen=True)
class _Run:
    """Work and cost of one training, by its record."""

    flops: float
    """FLOPs that were executed, recomputation included."""
    seconds: float
    """Accelerator-seconds, the start included."""
    startup_seconds: float | None
    num_workers: int

    @property
    def stepping_seconds(self) -> float:
        """Accelerator-seconds without the start, as far as it is known."""
        starting = (self.startup_seconds or 0.0) * self.num_workers
        return self.seconds - starting if starting < self.seconds else self.seconds


def measured_speeds(
    store: Store, plan: Plan, done: Mapping[str, TaskRecord], sizes: Collection[str]
) -> dict[str, Speed]:
    """Return speeds of finished trainings of any sweep under the root, on the kind of device of the plan's workers; of
    several kinds of GPU, on that with the most accelerator time.

    Args: done: the plan's own records, which are not read again. sizes: of models; others are not looked for.
    """
    runs: dict[tuple[str, str], list[_Run]] = defaultdict(list)  # by size and GPU
    if not sizes:
        return {}
    for digest, size in _trainings(store, plan, sizes):
        record = done.get(digest) or read_record(store, digest)
        if record is None or _on_gpu(record) != plan.spec.runtime.workers.use_gpu:
            continue
        cost, work = record.metrics.get(COST_METRIC, 0.0), record.metrics.get("training_flops", 0.0)
        work = float(record.about.get(EXECUTED, work))
        if cost > 0 and work > 0:
            device = str(record.about.get("worker", {}).get("gpu", ""))
            startup, num_workers = _startup_of(record.about), int(record.about.get("world_size", 1))
            runs[size, device].append(_Run(work, cost, startup, num_workers))
    ranked = sorted(runs.items(), key=lambda item: sum(run.seconds for run in item[1]))
    return {size: _speed(found, device) for (size, device), found in ranked}  # the last one stays


def _speed(runs: list[_Run], device: str) -> Speed:
    flops, seconds = sum(run.flops for run in runs), sum(run.stepping_seconds for run in runs)
    startups = [run.startup_seconds for run in runs if run.startup_seconds is not None]
    return Speed(flops / seconds, len(runs), device, sum(startups) / len(startups) if startups else None)


def _startup_of(about: Mapping[str, Any]) -> float | None:
    seconds = about.get(STARTUP)
    return float(seconds) if isinstance(seconds, int | float) and seconds >= 0 else None


def measured_sampling(
    store: Store, plan: Plan, done: Mapping[str, TaskRecord], sizes: Collection[str]
) -> dict[str, float]:
    """Return FLOP/s of sampling by model size, features and all else that an evaluation does included.

    By the plan's own records, which are not read again, and some of other sweeps under the root. Args: as
    `measured_speeds`.
    """
    costs: dict[str, list[tuple[float, float]]] = defaultdict(list)
    own = [task for task in plan.of_kind(EvaluateTask) if task.digest in done]
    records = [(str(task.config.model.size), done[task.digest]) for task in own]
    if not records:
        found = ((size, read_record(store, digest)) for digest, size in _evaluations(store, sizes))
        records = list(islice(((size, record) for size, record in found if record is not None), _MOST_EVALUATIONS))
    for size, record in records:
        cost, work = record.metrics.get(COST_METRIC, 0.0), record.metrics.get("sampling_flops", 0.0)
        if cost > 0 and work > 0:
            costs[size].append((work, cost))
    return {size: sum(work for work, _ in found) / sum(cost for _, cost in found) for size, found in costs.items()}


def _evaluations(store: Store, sizes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (digest, model size) of the evaluations of published plans."""
    for published in _published(store):
        for digest, task in published.tasks.items():
            trained = published.tasks.get(task.train)
            if trained is not None and trained.model_size in sizes:
                yield digest, trained.model_size


def _trainings(store: Store, plan: Plan, sizes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (digest, model size) of the trainings of all plans, each once."""
    known = {task.digest: str(task.config.model.size) for task in plan.of_kind(TrainTask)}
    for published in _published(store):
        known |= {digest: task.model_size for digest, task in published.tasks.items() if task.kind == "train"}
    return ((digest, size) for digest, size in known.items() if size in sizes)


def _published(store: Store) -> Iterator[PublishedPlan]:
    for sweep in published_sweeps(store):
        try:
            published = read_published(store, sweep)
        except UnreadablePlanError:
            continue  # an estimate can do without; `--gc` is where a plan that cannot be read matters
        if published is not None:
            yield published


def _on_gpu(record: TaskRecord) -> bool:
    return str(record.about.get("device", "")).startswith("cuda")
