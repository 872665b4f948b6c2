"""The check of collectives: an all-reduce as a training does it, on actors placed as its workers."""

from __future__ import annotations

import datetime as dt
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import ray
import torch
import torch.distributed as dist

from orchestration.cluster.address import is_on_loopback
from orchestration.cluster.loopback_group import Meeting
from orchestration.common.cleanup import always
from orchestration.common.redaction import reason_of

_ROUNDS = 5
_JOIN_SECONDS = 90


@dataclass(frozen=True)
class Collective:
    """The result of an all-reduce over the workers of a cluster."""

    num_workers: int
    backend: str
    """nccl or gloo."""
    num_bytes: int = 0
    bytes_per_second: float = 0.0
    """Bus bandwidth: 2 (W - 1) / W times the bytes of a worker, over the seconds of the fastest round."""
    problem: str = ""


class Worker:
    """One worker of the process group."""

    def address(self) -> str | Meeting:
        """Return the place at which the others find this worker."""
        if is_on_loopback():
            return Meeting.open()
        with socket.socket() as listener:
            listener.bind(("", 0))
            return f"tcp://{ray.util.get_node_ip_address()}:{listener.getsockname()[1]}"

    def all_reduce(self, address: str | Meeting, rank: int, num_workers: int, num_bytes: int, backend: str) -> float:
        """Return the seconds of the fastest of some rounds. Raises: errors of torch; ValueError for a wrong sum."""
        os.environ.setdefault("NCCL_DEBUG", "WARN")
        limit = dt.timedelta(seconds=_JOIN_SECONDS)
        if isinstance(address, Meeting):
            address.join(backend, rank, num_workers, limit)
        else:
            dist.init_process_group(backend, address, world_size=num_workers, rank=rank, timeout=limit)
        with always(dist.destroy_process_group):
            device = torch.device("cuda" if backend == "nccl" else "cpu")
            tensor = torch.empty(num_bytes // 4, dtype=torch.float32, device=device)
            return min(_round(tensor, rank, num_workers) for _ in range(_ROUNDS))


def _round(tensor: torch.Tensor, rank: int, num_workers: int) -> float:
    tensor.fill_(float(rank + 1))
    dist.barrier()
    begin = time.monotonic()
    dist.all_reduce(tensor)
    total = float(tensor[-1])  # waits for the device
    seconds = time.monotonic() - begin
    if total != num_workers * (num_workers + 1) / 2:
        raise ValueError(f"the sum over {num_workers} workers came out as {total}")
    return seconds


def measure(num_workers: int, *, use_gpu: bool, num_bytes: int, wait_seconds: float) -> Collective:
    """Measure an all-reduce over workers spread over the nodes; return a problem instead if it does not come about.

    Args: wait_seconds: for resources, in which an autoscaling cluster can start its nodes.
    """
    backend = "nccl" if use_gpu else "gloo"
    options = {"num_cpus": 1, "num_gpus": int(use_gpu), "scheduling_strategy": "SPREAD"}
    workers = [ray.remote(Worker).options(**options).remote() for _ in range(num_workers)]
    try:
        (address, *_) = ray.get([worker.address.remote() for worker in workers], timeout=wait_seconds)
        calls: list[Any] = [
            worker.all_reduce.remote(address, rank, num_workers, num_bytes, backend)
            for rank, worker in enumerate(workers)
        ]
        slowest = max(ray.get(calls, timeout=2 * _JOIN_SECONDS))
    except ray.exceptions.GetTimeoutError:
        return Collective(num_workers, backend, problem="the workers did not start, or not find each other, in time")
    except ray.exceptions.RayError as error:
        return Collective(num_workers, backend, problem=reason_of(getattr(error, "cause", None) or error))
    finally:
        for worker in workers:
            ray.kill(worker)
    moved = 2 * (num_workers - 1) / num_workers * num_bytes
    return Collective(num_workers, backend, num_bytes, moved / slowest)
