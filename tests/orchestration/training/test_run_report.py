"""Speed, waits and memory of a worker."""

from __future__ import annotations

import itertools
from typing import cast

import pytest
import torch

from orchestration.tracking.node_metrics import NodeMetrics
from orchestration.training import run_report
from orchestration.training.run_report import Throughput, of_all_ranks

FIRST = 5


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at the clock is two seconds after the one before."""
    times = itertools.count(0.0, 2.0)
    monkeypatch.setattr(run_report.time, "monotonic", lambda: next(times))


@pytest.mark.usefixtures("clock")
def test_throughput_is_that_of_the_steps_since_the_last_look() -> None:
    meter = Throughput(FIRST, batch_size=32, flops_per_step=8e12, world_size=4, device=torch.device("cpu"))
    meter.waited(0.01)
    meter.waited(0.03)
    first, second = meter.metrics(FIRST + 4), meter.metrics(FIRST + 6)
    assert (first["images_per_second"], second["images_per_second"]) == (64.0, 32.0)  # 4 and 2 steps in 2 s
    assert (first["tflops_per_worker"], second["tflops_per_worker"]) == (4.0, 2.0)
    assert (first["data_wait_ms_per_step"], second["data_wait_ms_per_step"]) == (pytest.approx(10.0), 0.0)
    assert first["host_memory_gib"] > 0.0
    assert "gpu_memory_gib" not in first


@pytest.mark.usefixtures("clock")
def test_a_gpu_tells_its_memory_and_the_share_of_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _device: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H100 80GB HBM3")
    meter = Throughput(0, batch_size=8, flops_per_step=989e12, world_size=1, device=torch.device("cuda"))
    numbers = meter.metrics(1)
    assert (numbers["gpu_memory_gib"], numbers["share_of_peak_rate"]) == (3.0, 0.5)


class Node:
    """The metrics of a node."""

    def take(self) -> dict[str, float]:
        return {"system/disk_usage_percentage": 7.0}


@pytest.mark.usefixtures("clock")
def test_the_worker_that_tells_of_a_node_adds_its_metrics() -> None:
    meter = Throughput(0, 8, 0.0, 2, torch.device("cpu"), cast("NodeMetrics", Node()))
    assert meter.metrics(1)["system/disk_usage_percentage"] == 7.0


def test_ranks_are_told_one_by_one_where_they_differ_else_by_the_largest() -> None:
    ranks = [
        {"images_per_second": 640.0, "data_wait_ms_per_step": 0.1, "host_memory_gib": 3.0, "gpu_memory_gib": 50.02},
        {"images_per_second": 640.1, "data_wait_ms_per_step": 4.2, "host_memory_gib": 3.05, "gpu_memory_gib": 50.0},
    ]
    assert of_all_ranks(ranks) == {
        "images_per_second": 640.0,
        "data_wait_ms_per_step": 4.2,
        "ranks/data_wait_ms_per_step_0": 0.1,
        "ranks/data_wait_ms_per_step_1": 4.2,
        "host_memory_gib": 3.05,
        "gpu_memory_gib": 50.02,
    }
    assert of_all_ranks(ranks[:1]) == ranks[0]


def test_nodes_have_their_number_where_there_are_several() -> None:
    def worker(disk: float | None) -> dict[str, float]:
        return {"images_per_second": 1.0} | ({} if disk is None else {"system/disk_usage_percentage": disk})

    one, two = of_all_ranks([worker(7.0), worker(None)]), of_all_ranks([worker(7.0), worker(None), worker(9.0)])
    assert one == {"images_per_second": 1.0, "system/disk_usage_percentage": 7.0}
    assert two == {
        "images_per_second": 1.0,
        "system/node_0/disk_usage_percentage": 7.0,
        "system/node_1/disk_usage_percentage": 9.0,
    }
