"""The queue from which the workers of a Ray Train run fetch their trainings: a Ray actor that the driver fills.

Every worker asks for itself, and remembers which training it did last: nobody waits inside a collective call, which the
communication library would end after some minutes. Losing the queue ends the run that belongs to it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import ray

_ASK_SECONDS = 0.1


class _WorkQueue:
    def __init__(self) -> None:
        self._serial = 0
        self._request: Any = None
        self._is_done = True
        self._closed = False

    def put(self, request: Any) -> int:
        """Put a training for all workers. Returns its serial number."""
        assert self._is_done, "one training at a time"
        self._serial, self._request, self._is_done = self._serial + 1, request, False
        return self._serial

    def take(self, last: int) -> tuple[int, Any, bool]:
        """Return (serial number, training or None, whether no more come). Args: last: the worker's last training."""
        request = self._request if self._serial > last else None
        return self._serial, request, self._closed

    def finish(self, serial: int) -> None:
        """Mark a training as completed: worker 0 has, and the others have or will without it."""
        self._is_done = self._is_done or serial == self._serial

    def is_done(self, serial: int) -> bool:
        return serial < self._serial or self._is_done

    def close(self) -> None:
        """Let the workers end after their training."""
        self._closed = True


def start_work_queue() -> tuple[str, Any]:
    """Start a work queue. Returns its name, for `trainings_of`, and the handle by which it is ended."""
    name = f"desk-{uuid.uuid4().hex}"
    return name, ray.remote(_WorkQueue).options(name=name, num_cpus=0).remote()


def trainings_of(queue_name: str, sleep: Callable[[float], None] = time.sleep) -> Iterator[tuple[int, Any]]:
    """Yield a worker's trainings with their serial numbers until the queue is closed, and wait where there is none yet.

    Raises: RayActorError if the queue is lost.
    """
    work_queue, last = ray.get_actor(queue_name), 0
    while True:
        serial, request, closed = ray.get(work_queue.take.remote(last))
        if request is not None:
            last = serial
            yield serial, request
        elif closed:
            return
        else:
            sleep(_ASK_SECONDS)


def finish(queue_name: str, serial: int) -> None:
    """Mark a training as completed; called by worker 0."""
    ray.get(ray.get_actor(queue_name).finish.remote(serial))
