"""A cluster that can never hold one training is refused, with what it has and can get."""

from __future__ import annotations

import pytest

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.cluster.capacity_checks import capacity_problems
from orchestration.config.workers import WorkersConfig

HEAD, GPU_NODE = NodeSize(4), NodeSize(96, 8)
GPUS = WorkersConfig(use_gpu=True, num_workers=8)


def problems(capacity: Capacity, workers: WorkersConfig) -> list[str]:
    return [str(problem) for problem in capacity_problems(capacity, workers)]


def test_gpus_that_can_come_are_waited_for_instead_of_refused() -> None:
    assert problems(Capacity((HEAD,), coming=(GPU_NODE,)), GPUS) == []


def test_what_other_jobs_use_may_end_and_is_no_reason_to_refuse() -> None:
    assert problems(Capacity((GPU_NODE,), others=(GPU_NODE,)), GPUS) == []


def test_a_worker_that_fits_on_no_node_type_is_refused_once() -> None:
    (problem,) = problems(
        Capacity((HEAD,), coming=(NodeSize(8, 8),) * 2), WorkersConfig(use_gpu=True, cpus_per_worker=12)
    )
    assert problem == (
        "workers.cpus_per_worker: a worker with 12 CPU(s) and a GPU fits on no node: the cluster has 1 node of 4 CPUs, "
        "0 GPUs and it can get 2 nodes of 8 CPUs, 8 GPUs. Lower it, or give `ray up` larger nodes, or more of them"
    )


def test_gpus_that_nobody_has_are_asked_for_where_nobody_could_add_them() -> None:
    (problem,) = problems(Capacity((HEAD,)), GPUS)
    assert problem == (
        "workers.use_gpu: there is no GPU: the cluster has 1 node of 4 CPUs, 0 GPUs. Set it to false, or add GPU nodes"
        "; if the cluster adds nodes, and does not say which, set workers.max_accelerators"
    )


def test_a_training_of_more_workers_than_can_come_is_refused() -> None:
    (problem,) = problems(Capacity((HEAD,), coming=(GPU_NODE,)), WorkersConfig(use_gpu=True, num_workers=9))
    assert problem.startswith("workers.num_workers: 9 workers with 1 CPU(s) and a GPU each do not fit: ")


@pytest.mark.parametrize(("gpus", "fits"), [(0.5, True), (0.6, False)])
def test_evaluators_share_a_gpu_but_none_spans_two(gpus: float, fits: bool) -> None:
    """Two GPUs on two nodes hold four halves; three times 0.6 of a GPU is less than both, and does not fit."""
    capacity = Capacity((NodeSize(8, 1), NodeSize(8, 1)))
    found = problems(capacity, WorkersConfig(gpus_per_evaluator=gpus, num_evaluators=3))
    assert found == [] if fits else found[0].startswith("workers.gpus_per_evaluator: 3 evaluators with")
