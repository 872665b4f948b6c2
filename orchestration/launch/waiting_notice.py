"""The notice that work waits for room on the cluster, in the driver's output and its heartbeat."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestration.cluster.capacity import Capacity
from orchestration.common.console import clock
from orchestration.launch.progress_display import Display

NOTICE_SECONDS = 30.0
"""Time after which it is told that something waits; then again whenever that has doubled."""


class WaitingNotice:
    """Tells what waits, for what, and since when."""

    def __init__(self, display: Display, now: Callable[[], float] = time.time) -> None:
        self._display, self._now = display, now
        self._next: dict[float, float] = {}
        """Seconds of waiting at which it is told next, by its begin."""

    def look(self, capacity: Capacity) -> None:
        """Tell of what has waited for long."""
        now = self._now()
        long = tuple(one for one in capacity.waiting if now - one.since >= NOTICE_SECONDS)
        self._display.waiting = long
        self._next = {one.since: self._next.get(one.since, NOTICE_SECONDS) for one in long}
        for one in long:
            waited = now - one.since
            if waited >= self._next[one.since]:
                self._next[one.since] = 2 * waited
                self._display.say(f"{one}, for {clock(waited)} now. Ray has {capacity}.")
