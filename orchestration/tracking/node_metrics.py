"""The system metrics of MLflow, of one node: CPUs, memory, disk, network, GPUs.

MLflow's own monitor would send them from every node to the tracking server. Here a worker of each node collects them,
and they take the way of the training's curve: no training talks to MLflow, and one that is away costs it nothing.
"""

from __future__ import annotations

import importlib
import logging
from typing import Any

SYSTEM = "system/"
"""Beginning of the names of metrics that MLflow's page of a run shows as system metrics."""
_COLLECTORS = ("cpu_monitor.CPUMonitor", "disk_monitor.DiskMonitor", "network_monitor.NetworkMonitor")
_GPU_COLLECTOR = "gpu_monitor.GPUMonitor"
_LOG = logging.getLogger(__name__)


class NodeMetrics:
    """The collectors of this node."""

    def __init__(self, *, has_gpu: bool) -> None:
        self._collectors = [_collector(name) for name in _COLLECTORS]
        if has_gpu:
            try:
                self._collectors.append(_collector(_GPU_COLLECTOR))
            except (ImportError, RuntimeError) as error:  # a package of the extra `gpu`; NVIDIA's library
                _LOG.warning("no system metrics of the GPUs of this node: %s", error)
        self.take()  # the load of CPUs is that since the look before

    def take(self) -> dict[str, float]:
        """Return the node's metrics by MLflow's names: load of CPUs since the last call, traffic since the first."""
        metrics: dict[str, float] = {}
        for collector in self._collectors:
            collector.collect_metrics()
            metrics |= {f"{SYSTEM}{name}": float(value) for name, value in collector.aggregate_metrics().items()}
            collector.clear_metrics()
        return metrics


def _collector(name: str) -> Any:
    module, _, kind = name.partition(".")
    # Only where they are asked for: MLflow takes a worker a second of a core and 33 MB.
    return getattr(importlib.import_module(f"mlflow.system_metrics.metrics.{module}"), kind)()
