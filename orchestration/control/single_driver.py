"""One driver a sweep: a second one is refused at the start, and of two that run all the same the later one stays.

Two drivers would compute everything twice into one place. What each does is whole or not at all, so no result is at
stake; but their costs are. Who stays is decided by `orchestration.control.lease`.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from orchestration.common.exit_codes import EXIT_SECOND_DRIVER
from orchestration.control.heartbeat import (
    DamagedHeartbeatError,
    Driver,
    Heartbeat,
    next_beat,
    read_heartbeat,
)
from orchestration.control.outcome import EarlyExit
from orchestration.storage.store import Store


class SecondDriverError(Exception):
    """Another driver runs the sweep."""


def ensure_single_driver(store: Store, sweep: str, sleep: Callable[[float], None] = time.sleep) -> None:
    """Returns if nobody runs the sweep. Takes seconds where the last driver, on another machine, left without a word.

    Raises: SecondDriverError.
    """
    try:
        last = read_heartbeat(store, sweep)
    except DamagedHeartbeatError:
        return  # it says nothing, and ours will take its place
    if last is None or last.phase == "ended" or _is_dead(last):
        return
    following = next_beat(store, sweep, last, sleep=sleep)
    if following is not None and following.phase != "ended":
        age = time.time() - following.written_at
        raise SecondDriverError(f"{Driver('running', following, age)} Look at it with --status; end it with --stop.")


def another_runs(other: str) -> EarlyExit:
    return EarlyExit(
        EXIT_SECOND_DRIVER,
        f"another driver, {other}, has taken this sweep",
        "nothing is lost: that one does everything; look at it with --status",
    )


def _is_dead(last: Heartbeat) -> bool:
    """Whether its process, of this machine, is no more: then nobody has to wait for its next beat."""
    if last.host != socket.gethostname():
        return False
    if last.pid == os.getpid():
        return True  # an earlier launch of this process, or a number that came round
    try:
        os.kill(last.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's process
        return False
    return False
