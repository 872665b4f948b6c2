"""The watch of the cluster: a thread that looks every second whether it is still there, and how large it is.

Without its node's raylet, or without the head, a driver can only wait: for actors that nobody starts, for answers that
nobody sends. All results are in the store, so it ends soon and says why, and the same command goes on.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import ray

from orchestration.cluster.address import starts_its_own, through_client
from orchestration.cluster.capacity import Capacity
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST
from orchestration.control.outcome import EarlyExit

_LOG = logging.getLogger(__name__)
_LOOK_SECONDS, _ANSWER_SECONDS = 1.0, 2.0
RAYLET_SECONDS = 3.0
"""Time of refused connections after which a raylet is gone: nothing starts it again for this driver."""
HEAD_SECONDS = 40.0
"""The same for a head, which may come back where its state is kept outside."""


@dataclass(frozen=True)
class Place:
    """A process of Ray without which this driver cannot go on."""

    name: str
    host: str
    port: int
    limit_seconds: float

    def answers(self) -> bool:
        """Return whether it accepts connections."""
        try:
            with socket.create_connection((self.host, self.port), timeout=_ANSWER_SECONDS):
                return True
        except OSError:
            return False


class ClusterWatch:
    """Looks every second for the length of a `with` block."""

    def __init__(
        self,
        places: list[Place],
        first: Capacity,
        look: Callable[[], Capacity],
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:
        """Args: first: the capacity at the start. look: returns the capacity now."""
        self._places, self._capacity, self._look, self._look_seconds = places, first, look, look_seconds
        self._lost: EarlyExit | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cluster-watch", daemon=True)

    def __enter__(self) -> ClusterWatch:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._closing.set()
        self._thread.join(timeout=10 * self._look_seconds)  # it calls Ray, which may be shut down next

    @property
    def capacity(self) -> Capacity:
        """The capacity as it was last seen."""
        return self._capacity

    @property
    def lost(self) -> EarlyExit | None:
        """Reason why this driver has to end; None as long as all is well."""
        return self._lost

    def _run(self) -> None:
        answered = dict.fromkeys(self._places, time.monotonic())
        while not self._closing.wait(self._look_seconds):
            there = [place for place in self._places if place.answers()]
            answered |= dict.fromkeys(there, time.monotonic())
            for place, last in answered.items():
                if time.monotonic() - last > place.limit_seconds:
                    self._lost = _lost(place)
                    return
            if len(there) == len(self._places):
                self._measure()

    def _measure(self) -> None:
        try:
            self._capacity = self._look()
        except Exception as error:  # noqa: BLE001  any error while a head goes: the next look tells
            _LOG.debug("the cluster's size could not be asked for: %s", error)


def _lost(place: Place) -> EarlyExit:
    return EarlyExit(
        EXIT_CLUSTER_LOST,
        f"{place.name} at {place.host}:{place.port} is gone: it has answered nothing for {place.limit_seconds:g} s",
        "with a cluster that runs, the same command goes on from the last checkpoints",
        cluster_is_lost=True,
    )


def places_of_this_driver() -> list[Place]:
    """Return the head and this node's raylet; nothing through a Ray Client, which has neither."""
    if through_client():
        return []
    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    # Nobody starts the head of a driver's own cluster again.
    limit_seconds = RAYLET_SECONDS if starts_its_own() else HEAD_SECONDS
    head = Place("the head (Ray's gcs_server)", host.strip("[]"), int(port), limit_seconds)
    (node,) = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    where = node["NodeManagerAddress"], int(node["NodeManagerPort"])
    return [head, Place("the raylet of this driver's node", *where, RAYLET_SECONDS)]
