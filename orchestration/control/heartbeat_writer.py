"""The writer of a driver's heartbeat: a thread of its own, which also looks for `--stop` and for another driver."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from orchestration.control.heartbeat import (
    BEAT_SECONDS,
    Heartbeat,
    Phase,
    TaskProgress,
    Waiting,
    write_heartbeat,
)
from orchestration.control.lease import Lease, lease_in_force, take_lease
from orchestration.control.outcome import EarlyExit
from orchestration.control.single_driver import another_runs, lease_gone
from orchestration.control.stop_request import StopRequest, read_stop_request, withdraw
from orchestration.storage.layout import lease_file
from orchestration.storage.store import Store

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class DriverState:
    """The state of a launch at one moment, as its heartbeat tells it."""

    running: tuple[TaskProgress, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    restarts: Mapping[str, int] = field(default_factory=dict)
    accelerator_seconds: float = 0.0
    waiting: tuple[Waiting, ...] = ()


class HeartbeatWriter:
    """Writes a beat every few seconds from `start` to `close`. A fault of the store does not end the launch."""

    def __init__(
        self, store: Store, sweep: str, state: Callable[[], DriverState], beat_seconds: float = BEAT_SECONDS
    ) -> None:
        """Args: state: is called from the thread."""
        self.driver = uuid.uuid4().hex
        self.phase: Phase = "starting"
        self._store, self._sweep, self._state, self._beat_seconds = store, sweep, state, beat_seconds
        self._request: StopRequest | None = None
        self._lease: Lease | None = None
        self._beat = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._is_failing = False
        self.fenced: EarlyExit | None = None
        """Set once another driver has taken this sweep, or could: from then on this one writes nothing of it."""

    @property
    def stop_requested(self) -> bool:
        """True once somebody asked this driver to stop."""
        return self._request is not None

    def start(self) -> None:
        """Take the sweep from its last driver. Raises: what the store raises; without the lease nothing begins."""
        self._lease = take_lease(self._store, self._sweep, self.driver)
        if self._lease is None:
            self.fenced = another_runs("that took the sweep in the same moment")
        self._thread.start()

    def close(self, outcome: str) -> None:
        """Write the last beat, which says how the launch ended; it answers a request to stop, which is removed."""
        self._closing.set()
        self._thread.join(timeout=10 * self._beat_seconds)
        self.phase = "ended"
        self._once(outcome)

    def _run(self) -> None:
        while not self._closing.is_set():
            self._once("")
            self._closing.wait(self._beat_seconds)

    def _once(self, outcome: str) -> None:
        try:
            request = read_stop_request(self._store, self._sweep)
            if request is not None and request.driver == self.driver:
                self._request = request
                if self.phase == "running":
                    self.phase = "stopping"
            self._look_at_lease()
            if self.fenced:
                return  # the file is another's
            write_heartbeat(self._store, self._sweep, self._now(outcome))
            if self.phase == "ended" and self._request is not None:
                withdraw(self._store, self._sweep, self._request)
            self._is_failing = False
        except Exception as error:  # noqa: BLE001  any storage library, any reason: none may end the launch
            if not self._is_failing:
                _LOG.warning("the heartbeat could not be written (%s: %s)", type(error).__name__, error)
            self._is_failing = True

    def _look_at_lease(self) -> None:
        if self.fenced or self._lease is None:
            return
        in_force = lease_in_force(self._store, self._sweep, self._lease)
        if in_force is None:
            self.fenced = lease_gone(self._store.uri(lease_file(self._sweep, self._lease.epoch)))
        elif in_force != self._lease:
            self.fenced = another_runs(str(in_force))

    def _now(self, outcome: str) -> Heartbeat:
        state = self._state()
        self._beat += 1
        return Heartbeat(
            driver=self.driver,
            host=socket.gethostname(),
            pid=os.getpid(),
            beat=self._beat,
            written_at=time.time(),
            phase=self.phase,
            running=state.running,
            failed=state.failed,
            restarts=state.restarts,
            accelerator_seconds=state.accelerator_seconds,
            waiting=state.waiting,
            outcome=outcome,
            stop_request="" if self._request is None else self._request.request,
        )
