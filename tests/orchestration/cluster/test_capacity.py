"""Room on a cluster: node by node, on nodes that can come too, without the use of other jobs."""

from __future__ import annotations

import pytest

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.config.workers import WorkersConfig

GPU = WorkersConfig(use_gpu=True, num_workers=4, cpus_per_worker=4)


@pytest.mark.parametrize(
    ("cpus", "gpus", "workers", "trainings", "evaluators", "together"),
    [
        (2, 0, WorkersConfig(), 1, 2, False),
        (1, 0, WorkersConfig(), 0, 1, False),
        (2, 0, WorkersConfig(num_workers=1, cpus_per_worker=2), 1, 1, False),
        (4, 0, WorkersConfig(), 1, 2, True),
        (9, 0, WorkersConfig(), 3, 2, True),
        (64, 8, WorkersConfig(use_gpu=True, num_workers=8), 1, 2, True),
        (64, 8, WorkersConfig(use_gpu=True, num_workers=4, gpus_per_evaluator=0.5), 1, 2, True),
        (64, 4, WorkersConfig(use_gpu=True, num_workers=8), 0, 2, False),
    ],
)
def test_trainings_and_evaluators_share_what_there_is(
    cpus: int, gpus: float, workers: WorkersConfig, trainings: int, evaluators: int, together: bool
) -> None:
    capacity = Capacity((NodeSize(cpus, gpus),))
    assert capacity.concurrent_trainings(workers) == trainings
    assert capacity.num_evaluators(workers) == evaluators
    assert capacity.fits_both(workers) is together


def test_workers_do_not_fit_across_nodes() -> None:
    """12 CPUs in all hold three workers of 4 CPUs on one node, but none on six nodes of 2."""
    workers = WorkersConfig(num_workers=3, cpus_per_worker=4, num_evaluators=1)
    assert Capacity((NodeSize(12),)).concurrent_trainings(workers) == 1
    assert Capacity((NodeSize(2),) * 6).concurrent_trainings(workers) == 0
    assert Capacity((NodeSize(7), NodeSize(7))).concurrent_trainings(workers) == 0
    assert Capacity((NodeSize(8), NodeSize(4))).concurrent_trainings(workers) == 1


def test_a_gpu_needs_its_cpus_on_the_same_node() -> None:
    head, gpus = NodeSize(64), NodeSize(8, 8)
    assert Capacity((head, gpus)).concurrent_trainings(GPU) == 0
    assert Capacity((head, NodeSize(32, 8))).concurrent_trainings(GPU) == 2


def test_halves_of_gpus_on_two_nodes_hold_no_worker() -> None:
    workers = WorkersConfig(use_gpu=True, num_workers=1)
    assert Capacity((NodeSize(8, 1.5), NodeSize(8, 1.5))).concurrent_trainings(workers) == 2
    assert Capacity((NodeSize(8, 0.5), NodeSize(8, 0.5))).concurrent_trainings(workers) == 0


def test_evaluators_go_to_the_smallest_nodes() -> None:
    head, gpus = NodeSize(2), NodeSize(16, 4)
    assert Capacity((head, gpus)).fits_both(GPU) is False  # the head's 2 CPUs hold no evaluator of 4
    assert Capacity((NodeSize(8), gpus)).fits_both(GPU) is True
    assert Capacity((NodeSize(8), gpus)).concurrent_trainings(GPU) == 1


def test_nodes_that_can_come_count_and_are_told() -> None:
    capacity = Capacity((NodeSize(1),), coming=(NodeSize(2), NodeSize(2)))
    workers = WorkersConfig(num_workers=1, num_evaluators=1)
    assert capacity.concurrent_trainings(workers) == 4
    assert str(capacity) == "1 node(s), 1 CPUs, 0 GPUs; 2 nodes can come"


def test_what_other_jobs_hold_is_not_ours() -> None:
    capacity = Capacity((NodeSize(8), NodeSize(8)), others=(NodeSize(8), NodeSize(3)))
    assert capacity.rooms == (NodeSize(0), NodeSize(5))
    assert capacity.concurrent_trainings(WorkersConfig()) == 1  # 5 CPUs: two evaluators and a training of two workers
    assert str(capacity) == "2 node(s), 16 CPUs, 0 GPUs, of which other jobs use 11 CPUs, 0 GPUs"


@pytest.mark.parametrize(
    ("limit", "trainings", "together"), [(None, 8, True), (24, 6, True), (7, 1, True), (4, 1, True)]
)
def test_a_user_can_limit_the_accelerators(limit: int | None, trainings: int, together: bool) -> None:
    workers = WorkersConfig(use_gpu=True, num_workers=4, max_accelerators=limit)
    capacity = Capacity((NodeSize(4),), coming=(NodeSize(96, 8),) * 4)
    assert capacity.concurrent_trainings(workers) == trainings
    assert capacity.fits_both(workers) is together


def test_without_gpus_evaluators_count_against_the_limit_too() -> None:
    workers = WorkersConfig(num_workers=2, num_evaluators=2, max_accelerators=6)
    capacity = Capacity((NodeSize(64),))
    assert capacity.concurrent_trainings(workers) == 2
    workers = WorkersConfig(num_workers=2, num_evaluators=3, max_accelerators=2)
    assert not capacity.fits_both(workers)
    assert capacity.concurrent_trainings(workers) == 1
    assert capacity.num_evaluators(workers) == 2
