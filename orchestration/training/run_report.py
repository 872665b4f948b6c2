"""Reports of a training to Ray Train, whose run has its name: its `Result` and the dashboard show how far it is.

A reported checkpoint is a pointer to ours, of which Ray Train knows nothing more: workers resume from the store.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Mapping, Sequence

import ray.train
import torch

from orchestration.storage.store import Store
from orchestration.tracking.node_metrics import SYSTEM, NodeMetrics

POINTER = "checkpoint.json"


def report_checkpoint(
    store: Store, run_directory: str, checkpoint: str, attempt: str, metrics: Mapping[str, float]
) -> None:
    """Report a published checkpoint. Collective, and a barrier.

    Args: run_directory: of Ray Train's run. checkpoint: directory of ours. attempt: name of this attempt; Ray Train
        wants a name of its own for each report.
    """
    if ray.train.get_context().get_world_rank() != 0:
        ray.train.report(dict(metrics))
        return
    directory = f"{run_directory}/{checkpoint.rpartition('/')[2]}-{attempt}"
    # Written by our store, which waits while a storage is out of reach; Ray Train's own upload would fail the run.
    store.write(f"{directory}/{POINTER}", json.dumps({"uri": store.uri(checkpoint)}).encode())
    ray.train.report(
        dict(metrics),
        checkpoint=ray.train.Checkpoint(
            store.path(directory), ray.train.get_context().get_storage().storage_filesystem
        ),
        checkpoint_upload_mode=ray.train.CheckpointUploadMode.NO_UPLOAD,
    )


_PEAK_TFLOPS = {"A100": 312, "A800": 312, "H100": 989, "H200": 989, "B200": 2250, "L40S": 362, "GH200": 989}
"""Dense bf16 rate of matrix products by part of a GPU's name, from its maker's data sheets."""
_APART = {"data_wait_ms_per_step": 1.0, "host_memory_gib": 0.1, "gpu_memory_gib": 0.1}
"""Numbers that each rank has of its own -> how far they may lie apart before they are told rank by rank. Images a
second are not among them: ranks step together."""


def of_all_ranks(ranks: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the numbers of a training from those of its ranks: of what each has of its own the largest, and all of
    them where they differ; system metrics by node, if there are several."""
    numbers = {name: value for name, value in ranks[0].items() if not name.startswith(SYSTEM)}
    for name, apart in _APART.items():
        values = [rank[name] for rank in ranks if name in rank]
        if not values:
            continue
        numbers[name] = max(values)
        if max(values) - min(values) > apart:
            numbers |= {f"ranks/{name}_{rank}": value for rank, value in enumerate(values)}
    nodes = [{name: value for name, value in rank.items() if name.startswith(SYSTEM)} for rank in ranks]
    nodes = [node for node in nodes if node]
    for number, node in enumerate(nodes):
        of_node = f"{SYSTEM}node_{number}/" if len(nodes) > 1 else SYSTEM
        numbers |= {of_node + name.removeprefix(SYSTEM): value for name, value in node.items()}
    return numbers


class Throughput:
    """Speed, waits and memory of one worker since the point of the curve before."""

    def __init__(
        self,
        step: int,
        batch_size: int,
        flops_per_step: float,
        world_size: int,
        device: torch.device,
        node: NodeMetrics | None = None,
    ) -> None:
        """Args: flops_per_step: of all workers; 0: not known. node: that this worker tells of."""
        self._pace, self._step, self._batch_size = Pace(step), step, batch_size
        self._flops, self._world_size, self._device, self._node = flops_per_step, world_size, device, node
        self._waited = 0.0

    def waited(self, seconds: float) -> None:
        """Note time for which a step waited for its inputs."""
        self._waited += seconds

    def metrics(self, step: int) -> dict[str, float]:
        """Return the numbers of the steps since the last call; memory at its highest since the process began."""
        speed, steps = self._pace.since(step), max(1, step - self._step)
        waited, self._step, self._waited = self._waited, step, 0.0
        tflops = speed * self._flops / self._world_size / 1e12
        numbers = {
            "images_per_second": speed * self._batch_size,
            "data_wait_ms_per_step": 1000.0 * waited / steps,
            "host_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        if self._flops:
            numbers["tflops_per_worker"] = tflops
        if self._device.type == "cuda":
            numbers["gpu_memory_gib"] = torch.cuda.max_memory_allocated(self._device) / 2**30
            name = torch.cuda.get_device_name(self._device)
            peak = next((rate for part, rate in _PEAK_TFLOPS.items() if part in name), None)
            if peak and self._flops:
                numbers["share_of_peak_rate"] = tflops / peak
        return numbers if self._node is None else numbers | self._node.take()


class Pace:
    """The speed of a training since the last look."""

    def __init__(self, step: int) -> None:
        self._step, self._time = step, time.monotonic()

    def since(self, step: int) -> float:
        """Return steps per second since the last call, or since the start."""
        now = time.monotonic()
        steps, seconds = step - self._step, now - self._time
        self._step, self._time = step, now
        return steps / seconds if seconds > 0 else 0.0
