"""The notice that work waits for room on the cluster, in the driver's output and its heartbeat."""

from __future__ import annotations

import time

from orchestration.cluster.capacity import Capacity
from orchestration.launch.progress_display import Display

NOTICE_SECONDS = 30.0
"""Time after which it is told that something waits; then again whenever that has doubled."""


class WaitingNotice:
    """Tells what waits, for what, and since when."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._longest, self._next = 0.0, NOTICE_SECONDS

    def look(self, capacity: Capacity) -> None:
        """Tell of what has waited for long."""
        long = tuple(one for one in capacity.waiting if one.seconds >= NOTICE_SECONDS)
        longest = max((one.seconds for one in long), default=0.0)
        if longest < self._longest:  # that has got what it waited for
            self._next = NOTICE_SECONDS
        self._longest, self._display.waiting = longest, long
        if longest >= self._next:
            self._next = 2 * longest
            for one in long:
                self._display.say(f"{one.text(time.time())} Ray has {capacity}.")
