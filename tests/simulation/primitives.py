"""Time, threads and queues of simulated processes, with those interfaces of the standard library that we use."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future as RealFuture
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from tests.simulation.kernel import EPOCH, Event, current

T = TypeVar("T")


def monotonic() -> float:
    return current().now


def wall_clock() -> float:
    """Return the time by the clock on the wall of this process's machine, which can be wrong."""
    world = current()
    return EPOCH + world.now + world.thread.process.clock_offset


def sleep(seconds: float) -> None:
    world = current()
    world.enter("clock")
    world.sleep(seconds)


class Thread:
    """`threading.Thread` of a simulated process."""

    def __init__(self, target: Callable[[], object], name: str = "thread", *, daemon: bool = True) -> None:
        self._target, self._name, self.daemon = target, name, daemon
        self._ended: Event | None = None

    def start(self) -> None:
        world = current()
        self._ended = world.start(world.thread.process, self._name, self._target)

    def join(self, timeout: float | None = None) -> None:
        if self._ended is not None:
            self._ended.wait(timeout)

    def is_alive(self) -> bool:
        return self._ended is not None and not self._ended.is_set()


class Future(RealFuture[T]):
    """A future whose result is waited for in simulated time."""

    def __init__(self) -> None:
        super().__init__()
        self.is_there = Event()

    def set_result(self, result: T) -> None:
        super().set_result(result)
        self.is_there.set()

    def set_exception(self, exception: BaseException | None) -> None:
        super().set_exception(exception)
        self.is_there.set()

    def result(self, timeout: float | None = None) -> T:
        if not self.is_there.wait(timeout):
            raise TimeoutError
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.is_there.wait(timeout):
            raise TimeoutError
        return super().exception(0)


def wait(futures: Collection[Future[Any]], timeout: float | None = None) -> None:
    """Wait for all futures, for so many seconds at most."""
    world = current()
    end = None if timeout is None else world.now + timeout
    for future in list(futures):
        future.is_there.wait(None if end is None else max(0.0, end - world.now))


class Queue(Generic[T]):
    """`queue.Queue`."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._unfinished = 0
        self._filled, self._all_done = Event(), Event()

    def put(self, item: T) -> None:
        self._items.append(item)
        self._unfinished += 1
        self._filled.set()

    def get(self) -> T:
        while not self._items:
            self._filled.clear()
            self._filled.wait()
        return self._items.popleft()

    def task_done(self) -> None:
        self._unfinished -= 1
        if not self._unfinished:
            self._all_done.set()

    def join(self) -> None:
        while self._unfinished:
            self._all_done.clear()
            self._all_done.wait()

    def qsize(self) -> int:
        return len(self._items)


class Threads:
    """`ThreadPoolExecutor` that makes its calls one after the other, in the thread of its caller."""

    def __init__(self, max_workers: int) -> None: ...

    def __enter__(self) -> Threads:
        return self

    def __exit__(self, *_error: object) -> None: ...

    def map(self, call: Callable[..., T], *arguments: Any) -> list[T]:
        return [call(*each) for each in zip(*arguments, strict=True)]


TIME = SimpleNamespace(
    monotonic=monotonic,
    time=wall_clock,
    sleep=sleep,
    perf_counter=monotonic,
    strftime=time.strftime,
    localtime=time.localtime,
    gmtime=time.gmtime,
)
"""Stands for the module `time`."""
THREADING = SimpleNamespace(
    Thread=Thread,
    Event=Event,
    Lock=threading.Lock,
    Condition=threading.Condition,
    current_thread=threading.current_thread,
    main_thread=threading.main_thread,
    enumerate=threading.enumerate,
)
"""Stands for the module `threading`; a lock is never held over a turn."""
QUEUE = SimpleNamespace(Queue=Queue)
"""Stands for the module `queue`."""
