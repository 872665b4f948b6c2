"""What fits on a cluster."""

from __future__ import annotations

import pytest

from orchestration.cluster.capacity import Capacity
from orchestration.config.workers import WorkersConfig


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
    capacity = Capacity(cpus, gpus, 1)
    assert capacity.concurrent_trainings(workers) == trainings
    assert capacity.num_evaluators(workers) == evaluators
    assert capacity.fits_both(workers) is together
