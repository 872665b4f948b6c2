"""The heartbeat that a driver writes into the store every few seconds, and the test whether the driver is alive.

Clocks of two machines can differ by an hour. So only a beat that looks fresh is believed at once; any other is watched
for a while: a driver that is alive writes the next one.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from dfm_core.config.plain import as_plain
from orchestration.common.console import clock
from orchestration.parsing.documents import DamagedDocumentError, parse_document
from orchestration.parsing.validation import validate
from orchestration.storage.layout import heartbeat_file
from orchestration.storage.store import Store

BEAT_SECONDS = 3.0
FRESH_SECONDS = 60.0
"""An older beat means that its driver is gone, unless it is seen to go on."""
WATCH_SECONDS = 4 * BEAT_SECONDS
_AHEAD_SECONDS = 5.0
"""Another machine's clock may be ahead by this much before its beats are watched."""

Phase = Literal["starting", "running", "stopping", "ended"]


class DamagedHeartbeatError(Exception):
    """The file is not what a driver of this version writes."""


@dataclass(frozen=True)
class TaskProgress:
    """A running task."""

    digest: str
    done: int
    total: int
    rate: float
    """Units per second; 0: not known yet."""


@dataclass(frozen=True)
class Waiting:
    """Work for which the cluster has no room yet."""

    what: str
    """"2 trainings, each for 2 workers with 1 CPU"."""
    seconds: float
    """Time that it has waited."""

    def text(self, now: float) -> str:
        """Return it with its begin. Args: now: seconds since 1970 when this was said."""
        begin = time.strftime("%H:%M:%S", time.localtime(now - self.seconds))
        return f"Waiting since {begin}, for {clock(self.seconds)}: {self.what}."


@dataclass(frozen=True)
class Heartbeat:
    """One beat."""

    driver: str
    """Name of this launch alone; a stop request names it."""
    host: str
    pid: Annotated[int, Interval(ge=0, lt=2**31)]
    beat: int
    """Serial number."""
    written_at: float
    """Seconds since 1970 by the driver's clock, which can be wrong."""
    phase: Phase
    running: tuple[TaskProgress, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Reasons of this launch's failures, by digest."""
    restarts: Mapping[str, int] = field(default_factory=dict)
    """Number of restarts of workers, by digest of their training; "evaluators": of those."""
    accelerator_seconds: float = 0.0
    """Cost of the sweep, earlier launches included."""
    waiting: tuple[Waiting, ...] = ()
    """Work that has waited for room on the cluster for a while."""
    outcome: str = ""
    """Description of how the launch ended."""
    stop_request: str = ""
    """The request by which it was asked to stop; "": none."""
    format: Literal[1] = 1


@dataclass(frozen=True)
class Driver:
    """A sweep's last driver, as a reader of its heartbeat sees it."""

    state: Literal["none", "running", "ended", "gone", "unknown"]
    heartbeat: Heartbeat | None = None
    age_seconds: float = 0.0
    """Age of the beat by the reader's clock."""
    problem: str = ""
    """Reason why the state is unknown."""

    def __str__(self) -> str:
        if self.state == "unknown":
            return f"Whether a driver is running is not known: {self.problem}."
        if self.heartbeat is None:
            return "No driver has run this sweep here."
        name = f"driver {self.heartbeat.pid} on {self.heartbeat.host}"
        if self.state == "ended":
            return f"No driver is running: the last one, {name}, ended ({self.heartbeat.outcome})."
        if self.state == "gone":
            return (
                f"No driver is running: {name} is gone without a word; its last beat is {_age(self.age_seconds)}. "
                "The same command goes on from there."
            )
        stopping = ", stopping" if self.heartbeat.phase == "stopping" else ""
        return f"Running: {name}{stopping}, heard of {_age(self.age_seconds)}."


def write_heartbeat(store: Store, sweep: str, heartbeat: Heartbeat) -> None:
    store.write(heartbeat_file(sweep), json.dumps(as_plain(heartbeat), sort_keys=True).encode())


def read_heartbeat(store: Store, sweep: str) -> Heartbeat | None:
    """Return the last beat of a sweep's last driver; None if none ever ran.

    Raises: DamagedHeartbeatError.
    """
    place = heartbeat_file(sweep)
    try:
        data = parse_document(store.read_document(place), finite=False)
    except FileNotFoundError:
        return None
    except DamagedDocumentError as error:
        raise DamagedHeartbeatError(f"{store.uri(place)} is damaged ({error})") from None
    checked = validate(Heartbeat, data, str)
    if checked.config is None:
        raise DamagedHeartbeatError(f"{store.uri(place)} is not of this version: {checked.problems[0]}")
    heartbeat: Heartbeat = checked.config
    return heartbeat


def find_driver(
    store: Store,
    sweep: str,
    *,
    wall_clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
    trust_fresh: bool = True,
) -> Driver:
    """Return whether a driver runs the sweep now. Takes `WATCH_SECONDS` where the last beat does not look fresh.

    Args: trust_fresh: if not, a fresh beat is watched too, unless the process is known to be gone: to be sure of a
        driver that was killed a moment ago.
    """
    try:
        first = read_heartbeat(store, sweep)
        if first is None:
            return Driver("none")
        age = wall_clock() - first.written_at
        if first.phase == "ended":
            return Driver("ended", first, age)
        if not trust_fresh and _process_is_gone(first):
            return Driver("gone", first, age)
        if trust_fresh and -_AHEAD_SECONDS <= age <= FRESH_SECONDS:
            return Driver("running", first, age)
        beat = _next_beat(store, sweep, first, sleep)
    except DamagedHeartbeatError as error:
        return Driver("unknown", problem=str(error))
    if beat is None:
        return Driver("gone", first, wall_clock() - first.written_at)
    return Driver("ended" if beat.phase == "ended" else "running", beat, wall_clock() - beat.written_at)


def _next_beat(store: Store, sweep: str, last: Heartbeat, sleep: Callable[[float], None]) -> Heartbeat | None:
    """Return the beat after this one; None if none comes for `WATCH_SECONDS`. Raises: DamagedHeartbeatError."""
    for _ in range(round(WATCH_SECONDS / BEAT_SECONDS)):
        sleep(BEAT_SECONDS)
        beat = read_heartbeat(store, sweep)
        if beat is not None and (beat.driver, beat.beat) != (last.driver, last.beat):
            return beat
    return None


def _process_is_gone(last: Heartbeat) -> bool:
    """Return True if its process was on this machine and is no more: then nobody has to wait for its next beat."""
    if last.host != socket.gethostname():
        return False
    if last.pid == os.getpid():
        return True  # an earlier launch of this process, or a reused number
    try:
        os.kill(last.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's process
        return False
    return False


def _age(seconds: float) -> str:
    """Return an age for people; a clock that disagrees is named, not corrected."""
    if seconds < -_AHEAD_SECONDS:
        return f"{-seconds:,.0f} s in the future by this machine's clock (the two clocks disagree)"
    ago = f"{max(seconds, 0.0):,.0f} s ago"
    return ago if seconds <= FRESH_SECONDS else f"{ago} by this machine's clock"
