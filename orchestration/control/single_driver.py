"""One driver a sweep: a second one is refused at the start, and of two that run all the same the later one stays.

Two drivers would compute everything twice into one place. All that each writes is whole or not at all, so no result is
at stake; but their costs are. `orchestration.control.lease` decides who stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestration.common.exit_codes import EXIT_SECOND_DRIVER, EXIT_TASKS_FAILED
from orchestration.control.heartbeat import Driver, find_driver
from orchestration.control.outcome import EarlyExit
from orchestration.storage.store import Store


class SecondDriverError(Exception):
    """Another driver runs the sweep."""


def ensure_single_driver(store: Store, sweep: str, sleep: Callable[[float], None] = time.sleep) -> Driver:
    """Return the last driver if nobody runs the sweep. Takes seconds where it, on another machine, left without a word.

    A damaged heartbeat says nothing; the new driver's takes its place.

    Raises: SecondDriverError.
    """
    driver = find_driver(store, sweep, sleep=sleep, trust_fresh=False)
    if driver.state == "running":
        raise SecondDriverError(f"{driver} Look at it with --status; end it with --stop.")
    return driver


def another_runs(other: str) -> EarlyExit:
    return EarlyExit(
        EXIT_SECOND_DRIVER,
        f"another driver, {other}, has taken this sweep",
        "nothing is lost: that one does everything; look at it with --status",
        is_fenced=True,
    )


def lease_gone(where: str) -> EarlyExit:
    return EarlyExit(
        EXIT_TASKS_FAILED,
        f"its lease is gone: somebody has removed {where}, or the whole storage root",
        "the same command goes on from what is still there",
        is_fenced=True,
    )
