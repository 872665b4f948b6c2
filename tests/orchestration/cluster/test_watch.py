"""The cluster is looked at all the time: what it has, and whether it is there; without Ray."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.cluster.watch import ClusterWatch, Place
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST
from tests.support.clock import Clock, until

SMALL, LARGE = Capacity((NodeSize(2),)), Capacity((NodeSize(4, 2), NodeSize(4, 2)))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def place(listener: socket.socket, limit_seconds: float) -> Place:
    return Place("the raylet", "127.0.0.1", listener.getsockname()[1], limit_seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The watch's clock: by the machine's, a service would be lost where a test is held up for a moment."""
    clock = Clock()
    monkeypatch.setattr("orchestration.cluster.watch.time", clock)
    return clock


def passes(seconds: float, clock: Clock, watch: ClusterWatch) -> None:
    """Let time pass, and return once the watch has looked since, or looks no more.

    Of four times that it takes, two are one look's: after the answers, and before it judges.
    """
    clock.now += seconds
    seen = clock.looks.count("cluster-watch")
    until(lambda: clock.looks.count("cluster-watch") >= seen + 4 or not watch._thread.is_alive())


@pytest.mark.usefixtures("clock")
def test_what_the_cluster_has_is_looked_up_again_and_a_failed_look_changes_nothing(listener: socket.socket) -> None:
    found: list[Capacity | Exception] = [RuntimeError("the head is busy"), LARGE]

    def look() -> Capacity:
        one = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(one, Exception):
            raise one
        return one

    with ClusterWatch([place(listener, 5.0)], SMALL, look, look_seconds=0.02) as watch:
        assert watch.capacity == SMALL
        until(lambda: watch.capacity == LARGE)
        assert watch.lost is None


def test_a_service_that_refuses_connections_too_long_is_lost_with_advice_to_resume(
    listener: socket.socket, clock: Clock
) -> None:
    with ClusterWatch([place(listener, 0.5)], SMALL, lambda: SMALL, look_seconds=0.02) as watch:
        for _ in range(3):
            passes(0.4, clock, watch)
            assert watch.lost is None
        listener.close()
        passes(0.4, clock, watch)
        assert watch.lost is None
        passes(0.2, clock, watch)
    assert watch.lost is not None
    assert watch.lost.exit_code == EXIT_CLUSTER_LOST
    assert watch.lost.cluster_is_lost
    assert watch.lost.reason.startswith("the raylet at 127.0.0.1:")
    assert "the same command goes on" in watch.lost.how_to_go_on


@dataclass(frozen=True)
class Head(Place):
    """Answers if it is there: the port of a listener that was closed may be another's a moment later."""

    is_there: threading.Event = field(default_factory=threading.Event)

    def answers(self) -> bool:
        return self.is_there.is_set()


@pytest.mark.proves(6)
def test_a_head_that_comes_back_in_time_is_not_lost(clock: Clock) -> None:
    head = Head("the head", "127.0.0.1", 1, 5.0)
    head.is_there.set()
    with ClusterWatch([head], SMALL, lambda: SMALL, look_seconds=0.02) as watch:
        passes(0.0, clock, watch)
        for _ in range(2):
            head.is_there.clear()
            passes(4.9, clock, watch)
            assert watch.lost is None
            head.is_there.set()
            passes(0.0, clock, watch)
        head.is_there.clear()
        passes(5.1, clock, watch)
        assert watch.lost is not None
