"""`--stop`: asks the driver of a sweep, on any machine, to stop, and prints the result."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_TASKS_FAILED
from orchestration.control.heartbeat import DamagedHeartbeatError, Driver, Heartbeat, find_driver, read_heartbeat
from orchestration.control.stop_request import StopRequest, ask_to_stop, withdraw
from orchestration.storage.store import Store

ANSWER_SECONDS = 30.0
"""Longer than the few seconds between a driver's looks."""
END_SECONDS = 180.0
"""Longer than a driver gives its trainings to write a checkpoint."""
_POLL_SECONDS = 0.5


def stop(
    store: Store,
    sweep: str,
    say: Callable[[str], None] = print,
    *,
    answer_seconds: float = ANSWER_SECONDS,
    end_seconds: float = END_SECONDS,
) -> int:
    """Ask, then wait for the answer and for the end. Return the exit code: 0 unless the driver did not answer.

    The request does not outlive this call unless the driver has taken it up, which removes it at its end.

    Raises: UserError if the heartbeat cannot be read.
    """
    driver = find_driver(store, sweep)
    if driver.state == "unknown":
        raise UserError.of("--stop", f"{driver.problem}: which driver to ask is not known")
    if driver.state != "running" or driver.heartbeat is None:
        say(f"{driver} There is nothing to stop.")
        return 0
    return _ask(store, sweep, driver, say, answer_seconds, end_seconds)


def _ask(
    store: Store,
    sweep: str,
    driver: Driver,
    say: Callable[[str], None],
    answer_seconds: float,
    end_seconds: float,
) -> int:
    assert driver.heartbeat is not None, "a running driver has a heartbeat"
    request, name = StopRequest(driver.heartbeat.driver), f"Driver {driver.heartbeat.pid} on {driver.heartbeat.host}"
    say(f"Asking driver {driver.heartbeat.pid} on {driver.heartbeat.host} to stop ...")
    ask_to_stop(store, sweep, request)

    def last_beat() -> Heartbeat | None:
        beat = read_heartbeat(store, sweep)
        return beat if beat is not None and beat.driver == request.driver else None

    def has_answered(beat: Heartbeat | None) -> bool:
        return beat is None or beat.phase == "ended" or bool(beat.stop_request)  # perhaps another's, that came after

    def has_ended(beat: Heartbeat | None) -> bool:
        return beat is None or beat.phase == "ended"

    if not _waited(lambda: has_answered(last_beat()), answer_seconds):
        withdraw(store, sweep, request)
        say(
            f"{name} did not answer within {answer_seconds:g} s; the request is withdrawn. It may be gone, or too "
            "busy: see --status."
        )
        return EXIT_TASKS_FAILED
    if not has_ended(last_beat()):
        say("It stops: nothing new starts, trainings write a checkpoint.")
    if not _waited(lambda: has_ended(last_beat()), end_seconds):
        say(f"{name} is still stopping after {end_seconds:g} s; --status says when it has ended.")
        return 0
    withdraw(store, sweep, request)
    last = last_beat()
    outcome = f" ({last.outcome})" if last is not None else ""
    say(f"{name} has ended{outcome}. Submitting the sweep again goes on from there.")
    return 0


def _waited(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true in time; a beat that cannot be read now counts as no answer."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if condition():
                return True
        except DamagedHeartbeatError as error:
            reason = str(error)
        else:
            reason = ""
        if time.monotonic() > deadline:
            if reason:
                raise UserError.of("--stop", reason)
            return False
        time.sleep(_POLL_SECONDS)
