"""Speed of the storage root's finished trainings: measured FLOP/s of a worker, by model size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from orchestration.artifacts.task_record import COST_METRIC, TaskRecord, read_record
from orchestration.plan.plan import Plan
from orchestration.plan.published import UnreadablePlanError, published_sweeps, read_published
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask


@dataclass(frozen=True)
class Speed:
    """Mean speed of the trainings of one model size over their accelerator time."""

    flops_per_worker: float
    """FLOP/s."""
    num_trainings: int
    device: str = ""
    """GPU that they ran on; "": CPUs, or not recorded."""


def measured_speeds(
    store: Store, plan: Plan, done: Mapping[str, TaskRecord], sizes: Collection[str]
) -> dict[str, Speed]:
    """Return speeds of finished trainings of any sweep under the root, on the kind of device of the plan's workers; of
    several kinds of GPU, on that with the most accelerator time.

    Args: done: the plan's own records, which are not read again. sizes: of models; others are not looked for.
    """
    runs: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)  # (FLOPs, seconds) by size and GPU
    if not sizes:
        return {}
    for digest, size in _trainings(store, plan, sizes):
        record = done.get(digest) or read_record(store, digest)
        if record is None or _on_gpu(record) != plan.spec.runtime.workers.use_gpu:
            continue
        cost, work = record.metrics.get(COST_METRIC, 0.0), record.metrics.get("training_flops", 0.0)
        if cost > 0 and work > 0:
            device = str(record.about.get("worker", {}).get("gpu", ""))
            runs[size, device].append((work, cost))
    speeds: dict[str, Speed] = {}
    for (size, device), costs in sorted(runs.items(), key=lambda item: sum(cost for _, cost in item[1])):
        work, seconds = (sum(column) for column in zip(*costs, strict=True))
        speeds[size] = Speed(work / seconds, len(costs), device)  # the last one stays
    return speeds


def _trainings(store: Store, plan: Plan, sizes: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield (digest, model size) of the trainings of all plans, each once."""
    known = {task.digest: str(task.config.model.size) for task in plan.of_kind(TrainTask)}
    for sweep in published_sweeps(store):
        try:
            published = read_published(store, sweep)
        except UnreadablePlanError:
            continue  # an estimate can do without; `--gc` is where a plan that cannot be read matters
        if published is not None:
            known |= {digest: task.model_size for digest, task in published.tasks.items() if task.kind == "train"}
    return ((digest, size) for digest, size in known.items() if size in sizes)


def _on_gpu(record: TaskRecord) -> bool:
    return str(record.about.get("device", "")).startswith("cuda")
