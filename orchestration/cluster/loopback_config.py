"""Ray Train's set-up of PyTorch workers where the cluster is on loopback alone, in the place of `TorchConfig`."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import ray
import ray.train
import torch.distributed as dist
from ray.train.backend import Backend
from ray.train.torch import TorchConfig

from orchestration.cluster.loopback_group import Meeting

_LEAVE_SECONDS = 30.0


class LoopbackConfig(TorchConfig):  # type: ignore[misc]  # Ray has no types
    """A group whose workers listen on loopback alone."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _LoopbackBackend


class _LoopbackBackend(Backend):  # type: ignore[misc]  # Ray has no types
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        assert backend_config.backend is not None, "the backend is named by our worker group"
        meeting = worker_group.execute_single(0, Meeting.open)
        limit = dt.timedelta(seconds=backend_config.timeout_s)
        ray.get(worker_group.execute_async(_join, meeting, backend_config.backend, limit))

    def on_shutdown(self, worker_group: Any, backend_config: TorchConfig) -> None:  # noqa: ARG002
        ray.wait(worker_group.execute_async(_leave), num_returns=len(worker_group), timeout=_LEAVE_SECONDS)


def _join(meeting: Meeting, backend: str, limit: dt.timedelta) -> None:
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    os.environ.update(  # as torchrun does, for DeepSpeed
        RANK=str(rank),
        WORLD_SIZE=str(world_size),
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        NODE_RANK=str(context.get_node_rank()),
    )
    meeting.join(backend, rank, world_size, limit)


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()
