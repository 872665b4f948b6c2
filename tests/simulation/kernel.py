"""Simulated time: processes of real threads, of which exactly one has its turn, in an order that the seed decides.

A thread keeps its turn until it sleeps or waits; then the earliest of all that is due goes on, and the clock jumps
there. Nothing runs beside it, so a world is the same whenever it is run again. A process that is killed makes no call
any more: whatever its threads do on their way out, `World.enter` ends it.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

EPOCH = 1_790_000_000.0
"""Seconds since 1970 at the start of every world."""


class Killed(BaseException):
    """Ends a thread whose process is dead, or whose world is over."""


class ViolationError(AssertionError):
    """An invariant does not hold."""


@dataclass(eq=False)
class Process:
    """A process of the simulated machines; a dead one calls nobody."""

    name: str
    """Role and serial number: "driver-0"."""
    host: str = "head"
    pid: int = 1
    is_dead: bool = False
    frozen_until: float = 0.0
    clock_offset: float = 0.0
    """Error of its clock on the wall, seconds."""
    num_calls: int = 0
    """Calls that have left it."""
    threads: list[Thread] = field(default_factory=list)
    at_end: list[Callable[[], None]] = field(default_factory=list)
    """Called once it is dead."""


@dataclass(eq=False)
class Thread:
    """A thread of a process, with its turn."""

    process: Process
    name: str
    turn: Any = field(default_factory=lambda: _taken_lock())
    """A lock that is free when the thread has its turn."""
    token: int = 0
    """Grows at every turn: what the calendar says of a turn before is void."""


class Event:
    """A flag that threads wait for in simulated time; the interface of `threading.Event`."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[tuple[Thread, int]] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        waiting, self._waiting = self._waiting, []
        for thread, token in waiting:
            current().wake(thread, token)

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            current().wait_any([self], timeout)
        return self._is_set

    def add(self, thread: Thread) -> None:
        self._waiting.append((thread, thread.token))


def _taken_lock() -> Any:
    lock = threading.Lock()
    lock.acquire()
    return lock


class _Crew:
    """Real threads, which are used again by later threads of processes: to start one takes as long as many turns."""

    def __init__(self) -> None:
        self._idle: list[_Hand] = []

    def call(self, call: Callable[[], None]) -> Callable[[], None]:
        """Let a thread make a call. Return what that has to call when it is about to give its turn away for good."""
        hand = self._idle.pop() if self._idle else _Hand()
        hand.call(call)
        return lambda: self._idle.append(hand)


class _Hand:
    def __init__(self) -> None:
        self._given = _taken_lock()
        self._calls: deque[Callable[[], None]] = deque()
        threading.Thread(target=self._work, name="simulated", daemon=True).start()

    def call(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self._given.release()

    def _work(self) -> None:
        while True:
            self._given.acquire()
            self._calls.popleft()()


_CREW = _Crew()


class World:
    """The clock, the calendar and the processes; the thread that makes it is the operator's."""

    def __init__(self, seed: int, most_turns: int = 200_000) -> None:
        """Args: most_turns: turns after which a world counts as one that never ends."""
        self.now = 0.0
        self.random = random.Random(seed)
        self.processes: list[Process] = []
        self.operator = self.add_process("operator")
        self.is_over = False
        self.problem: BaseException | None = None
        """Reason why the world has ended before its end."""
        self.on_call: Callable[[Process, str], None] = lambda _process, _what: None
        """Is told of every call that leaves a process, before it is made."""
        self.turns = 0
        self._most_turns = most_turns
        self._calendar: list[tuple[float, int, Thread | None, int, Callable[[], None] | None]] = []
        self._serial = 0
        self._main = self.thread = Thread(self.operator, "main")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Make this world the current one for a `with` block; after it none of its threads is left."""
        global _WORLD
        _WORLD = self
        try:
            yield
        finally:
            self._end()
            _WORLD = None

    def add_process(self, name: str, host: str = "head") -> Process:
        process = Process(name, host, pid=1000 + len(self.processes))
        self.processes.append(process)
        return process

    def enter(self, what: str) -> None:
        """Begin a call that leaves the process of now. Raises: Killed if that is dead."""
        process = self.thread.process
        self._check()
        process.num_calls += 1
        self.on_call(process, what)
        self._check()
        if process.frozen_until > self.now:
            self.sleep(0.0)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self._check()
        until = max(self.now + max(0.0, seconds), self.thread.process.frozen_until)
        if not self._calendar or self._calendar[0][0] > until:
            self.now = until
            return
        self._put(until, self.thread)
        self._switch()

    def wait_any(self, events: Iterable[Event], timeout: float | None) -> None:
        """Return when an event is set, or after some seconds."""
        self._check()
        listed = list(events)
        if any(event.is_set() for event in listed):
            return
        for event in listed:
            event.add(self.thread)
        if timeout is not None:
            self._put(self.now + max(0.0, timeout), self.thread)
        self._switch()

    def start(self, process: Process, name: str, call: Callable[[], object]) -> Event:
        """Start a thread. Return what is set at its end."""
        thread, ended = Thread(process, name), Event()
        process.threads.append(thread)

        def run() -> None:
            thread.turn.acquire()
            try:
                if not (process.is_dead or self.is_over):
                    call()
            except Killed:
                pass
            except BaseException as error:  # noqa: BLE001  of simulation or product: the world is wrong
                self.problem = self.problem or error
            process.threads.remove(thread)
            ended.set()
            chosen = self._next()
            idle()
            self._give_turn(chosen)

        idle = _CREW.call(run)
        self._put(self.now, thread)
        return ended

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call something that takes no time at a time."""
        self._serial += 1
        heapq.heappush(self._calendar, (max(time, self.now), self._serial, None, 0, call))

    def wake(self, thread: Thread, token: int) -> None:
        """Give a thread its turn as soon as possible, unless it had one since its token was taken."""
        if token == thread.token:
            self._put(self.now, thread)

    def kill(self, process: Process) -> None:
        """End a process at once; the thread of now goes on until its next call if it is one of it."""
        if process.is_dead:
            return
        process.is_dead, process.frozen_until = True, 0.0
        for thread in process.threads:
            if thread is not self.thread:
                self._put(self.now, thread)
        for call in process.at_end:
            call()

    def _check(self) -> None:
        process = self.thread.process
        if process.is_dead or (self.is_over and process is not self.operator):
            raise Killed

    def _put(self, time: float, thread: Thread) -> None:
        self._serial += 1
        heapq.heappush(self._calendar, (time, self._serial, thread, thread.token, None))

    def _next(self) -> Thread:
        """Take the next turn out of the calendar; calls of the world are made on the way."""
        while self.problem is None or self.is_over:
            if not self._calendar:
                self.problem = self.problem or ViolationError("everybody waits for ever")
                break
            time, _, thread, token, call = heapq.heappop(self._calendar)
            if thread is not None and token != thread.token:
                continue
            self.now = max(self.now, time)
            if thread is None:
                assert call is not None, "an entry of the calendar is a turn or a call"
                try:
                    call()
                except Exception as error:  # noqa: BLE001  of the simulation: the world is wrong
                    self.problem = self.problem or error
            elif thread.process.frozen_until > self.now:
                self._put(thread.process.frozen_until, thread)
            else:
                return self._counted(thread)
        return self._main

    def _counted(self, thread: Thread) -> Thread:
        self.turns += 1
        if self.turns > self._most_turns and not self.is_over:
            self.problem = ViolationError(f"more than {self._most_turns} turns, {self.now:.0f} s: it never ends")
            return self._main
        return thread

    def _give_turn(self, thread: Thread) -> None:
        thread.token += 1
        self.thread = thread
        thread.turn.release()

    def _switch(self) -> None:
        own, chosen = self.thread, self._next()
        self._give_turn(chosen)
        own.turn.acquire()
        if own is self._main and self.problem is not None and not self.is_over:
            raise self.problem
        self._check()

    def _end(self) -> None:
        self.is_over = True
        self._calendar.clear()
        while threads := [thread for process in self.processes for thread in process.threads]:
            for thread in threads:
                self._put(self.now, thread)
            self._put(self.now, self._main)
            self._switch()


_WORLD: World | None = None


def current() -> World:
    """Return the world that runs now."""
    assert _WORLD is not None, "no world runs"
    return _WORLD
