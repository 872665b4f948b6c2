"""Speed, waits and memory of a worker."""

from __future__ import annotations

import itertools

import pytest
import torch

from orchestration.training import run_report
from orchestration.training.run_report import Throughput

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
