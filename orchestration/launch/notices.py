"""Notifications around a launch: its end, a spent budget, and a driver before it that was lost."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from orchestration.common.exit_codes import EXIT_BUDGET_SPENT
from orchestration.control.heartbeat import Driver
from orchestration.control.notifier import Notifier
from orchestration.storage.layout import lost_file
from orchestration.storage.store import Store


@dataclass
class EndOfLaunch:
    """The end of a launch, which whoever runs it fills in."""

    exit_code: int = 1


@contextmanager
def notifications_of_end(notifier: Notifier, sweep: str) -> Iterator[EndOfLaunch]:
    """Tell how a launch ended, by its exit code or its error, whatever happens in the block."""
    end = EndOfLaunch()
    try:
        yield end
    finally:
        error = sys.exc_info()[0]
        if error is not None:
            notifier.tell("ended", f"Sweep {sweep} ended with an error: {error.__name__}.")
        elif end.exit_code == EXIT_BUDGET_SPENT:
            notifier.tell("budget_spent", f"Sweep {sweep}: its budget is spent; a higher limit resumes it.")
        else:
            how = "is done" if end.exit_code == 0 else f"ended with exit code {end.exit_code}"
            notifier.tell("ended", f"Sweep {sweep} {how}.")
        notifier.close()


def tell_of_lost_driver(notifier: Notifier, sweep: str, driver: Driver | None, store: Store) -> None:
    """Tell, once, of a driver that is gone without a word: the dead cannot."""
    if driver is None or driver.state != "gone" or driver.heartbeat is None or not notifier.is_on:
        return
    place, name = lost_file(sweep), driver.heartbeat.driver
    try:
        if store.exists(place) and store.read(place).decode() == name:
            return
        store.write(place, name.encode())
    except Exception as error:  # noqa: BLE001  any storage library: told twice is better than not at all
        print(f"Whether the lost driver was told is not known ({type(error).__name__}).", file=sys.stderr)
    notifier.tell("driver_lost", str(driver))
