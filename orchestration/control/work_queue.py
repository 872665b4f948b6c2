"""The queue from which the workers of a Ray Train run fetch their trainings: a Ray actor that the driver fills.

Every worker asks for itself, and remembers which training it did last: nobody waits inside a collective call, which the
communication library would end after some minutes. Calls return when there is an answer; nobody polls. Losing the queue
ends the run that belongs to it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy


class _WorkQueue:
    def __init__(self) -> None:
        self._serial = 0
        self._request: Any = None
        self._is_done = True
        self._closed = False
        self._changed = asyncio.Condition()
        self._asked = asyncio.Event()

    async def put(self, request: Any) -> int:
        """Put a training for all workers. Returns its serial number."""
        assert self._is_done, "one training at a time"
        async with self._changed:
            self._serial, self._request, self._is_done = self._serial + 1, request, False
            self._changed.notify_all()
        return self._serial

    async def take(self, last: int) -> tuple[int, Any] | None:
        """Return (serial number, training) once there is one, None once no more come.

        Args: last: serial number of the worker's last training.
        """
        self._asked.set()
        async with self._changed:
            await self._changed.wait_for(lambda: self._serial > last or self._closed)
        return (self._serial, self._request) if self._serial > last else None

    async def asked(self) -> None:
        """Return when a worker has asked for a training."""
        await self._asked.wait()

    async def finish(self, serial: int) -> None:
        """Mark a training as completed: worker 0 has, and the others have or will without it."""
        async with self._changed:
            self._is_done = self._is_done or serial == self._serial
            self._changed.notify_all()

    async def done(self, serial: int) -> None:
        """Return when a training is completed."""
        async with self._changed:
            await self._changed.wait_for(lambda: serial < self._serial or self._is_done)

    async def close(self) -> None:
        """Let the workers end after their training."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()


def start_work_queue() -> tuple[str, Any]:
    """Start a work queue. Returns its name, for `trainings_of`, and the handle by which it is ended."""
    name = f"work-queue-{uuid.uuid4().hex}"
    # On the driver's node, which ends the driver anyway when it goes: one that can be drained would take the run along.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return name, ray.remote(_WorkQueue).options(name=name, num_cpus=0, scheduling_strategy=here).remote()


def trainings_of(queue_name: str) -> Iterator[tuple[int, Any]]:
    """Yield a worker's trainings with their serial numbers until the queue is closed, and wait where there is none yet.

    Raises: RayActorError if the queue is lost.
    """
    work_queue, last = ray.get_actor(queue_name), 0
    while (taken := ray.get(work_queue.take.remote(last))) is not None:
        last, request = taken
        yield last, request


def finish(queue_name: str, serial: int) -> None:
    """Mark a training as completed; called by worker 0."""
    ray.get(ray.get_actor(queue_name).finish.remote(serial))
