"""Checks that a cluster can hold a launch at all, on the nodes that are there and those that can come."""

from __future__ import annotations

from collections.abc import Iterator

from orchestration.cluster.capacity import Capacity, NodeSize, evaluator_size, total, worker_size
from orchestration.common.errors import Problem
from orchestration.common.wording import counted
from orchestration.config.workers import WorkersConfig


def capacity_problems(capacity: Capacity, workers: WorkersConfig) -> Iterator[Problem]:
    """Yield what keeps trainings or evaluations from ever starting; what other jobs use may end, and is no reason."""
    sizes = (*capacity.nodes, *capacity.coming)
    unit, each = "GPU" if workers.use_gpu else "CPU", worker_size(workers)
    worker = f"{workers.cpus_per_worker} CPU(s){' and a GPU' if workers.use_gpu else ''}"
    fitting = sum(size.how_many(each) for size in sizes)
    if fitting == 0 and workers.use_gpu and not total(sizes).num_gpus:
        message = f"there is no GPU: {_nodes(capacity)}. Set it to false, or {_advice(capacity, unit)}"
        yield Problem("workers.use_gpu", message)
    elif fitting == 0:
        message = f"a worker with {worker} fits on no node: {_nodes(capacity)}. Lower it, or {_advice(capacity, unit)}"
        yield Problem("workers.cpus_per_worker", message)
    elif fitting < workers.num_workers:
        message = f"{workers.num_workers} workers with {worker} each do not fit: {_nodes(capacity)}"
        yield Problem("workers.num_workers", f"{message}. Lower it, or {_advice(capacity, unit)}")
    room_for_evaluators = sum(size.how_many(evaluator_size(workers)) for size in sizes)
    if workers.gpus_per_evaluator and workers.num_evaluators > room_for_evaluators:
        yield Problem(
            "workers.gpus_per_evaluator",
            f"{workers.num_evaluators} evaluators with {workers.cpus_per_worker} CPU(s) and "
            f"{workers.gpus_per_evaluator:g} GPU each do not fit: {_nodes(capacity)}",
        )


def _nodes(capacity: Capacity) -> str:
    sizes = {"the cluster has": capacity.nodes, "it can get": capacity.coming}
    return " and ".join(f"{what} {_listed(nodes)}" for what, nodes in sizes.items() if nodes)


def _listed(nodes: tuple[NodeSize, ...]) -> str:
    return ", ".join(f"{counted(nodes.count(size), 'node')} of {size}" for size in dict.fromkeys(nodes))


def _advice(capacity: Capacity, unit: str) -> str:
    if capacity.coming:
        return "give `ray up` larger nodes, or more of them"
    return f"add {unit} nodes; if the cluster adds nodes, and does not say which, set workers.max_accelerators"
