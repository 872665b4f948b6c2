"""System metrics of a node: MLflow's collectors, their names and what they do without GPUs."""

from __future__ import annotations

import logging
import subprocess
import sys
from types import ModuleType, SimpleNamespace

import psutil
import pytest
from mlflow.system_metrics.metrics import gpu_monitor

from orchestration.tracking.node_metrics import NodeMetrics

OF_A_NODE = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/disk_usage_percentage",
    "system/disk_usage_megabytes",
    "system/disk_available_megabytes",
    "system/network_receive_megabytes",
    "system/network_transmit_megabytes",
}


class Pynvml(ModuleType):
    """NVIDIA's library on a node of two GPUs, the second half as busy."""

    NVMLError = OSError

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=40e9 / (1 + handle), total=80e9)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=90 / (1 + handle))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:  # noqa: N802
        return 600_000 // (1 + handle)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: int) -> int:  # noqa: ARG002, N802
        return 700_000


def test_a_node_tells_what_mlflow_would_measure() -> None:
    metrics = NodeMetrics(has_gpu=False).take()
    assert set(metrics) == OF_A_NODE
    total = psutil.virtual_memory().total / 1e6
    share = metrics["system/system_memory_usage_megabytes"] / total
    assert metrics["system/system_memory_usage_percentage"] == pytest.approx(100 * share, abs=0.2)
    assert 0 <= metrics["system/cpu_utilization_percentage"] <= 100


def test_each_call_tells_of_the_time_since_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = iter([0.0, 10.0, 30.0])  # the first is that of no time at all
    monkeypatch.setattr(psutil, "cpu_percent", lambda: next(loads))
    node = NodeMetrics(has_gpu=False)
    assert [node.take()["system/cpu_utilization_percentage"] for _ in range(2)] == [10.0, 30.0]


def test_each_gpu_of_a_node_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pynvml = Pynvml("pynvml")
    monkeypatch.setitem(sys.modules, "pynvml", pynvml)
    monkeypatch.setattr(gpu_monitor, "pynvml", pynvml, raising=False)
    metrics = NodeMetrics(has_gpu=True).take()
    assert metrics["system/gpu_0_utilization_percentage"] == 90.0
    assert metrics["system/gpu_1_utilization_percentage"] == 45.0
    assert metrics["system/gpu_1_memory_usage_megabytes"] == 20_000.0
    assert set(metrics) > OF_A_NODE


def test_gpus_without_nvidias_package_are_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)  # by which MLflow knows that it is not there
    with caplog.at_level(logging.WARNING, "orchestration"):
        node = NodeMetrics(has_gpu=True)
        assert set(node.take()) == set(node.take()) == OF_A_NODE
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("no system metrics of the GPUs of this node: `nvidia-ml-py` is not installed")


def test_workers_that_are_not_asked_for_it_do_not_load_mlflow() -> None:
    code = "import sys, orchestration.training.checkpointed_run; sys.exit('mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
