"""The cluster is looked at all the time: what it has, and whether it is there; without Ray."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.cluster.watch import ClusterWatch, Place
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST

SMALL, LARGE = Capacity((NodeSize(2),)), Capacity((NodeSize(4, 2), NodeSize(4, 2)))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def place(listener: socket.socket, limit_seconds: float) -> Place:
    return Place("the raylet", "127.0.0.1", listener.getsockname()[1], limit_seconds)


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    listener: socket.socket,
) -> None:
    with ClusterWatch([place(listener, 0.5)], SMALL, lambda: SMALL, look_seconds=0.02) as watch:
        time.sleep(0.7)
        assert watch.lost is None
        listener.close()
        closed = time.monotonic()
        until(lambda: watch.lost)
        assert time.monotonic() - closed > 0.4
    assert watch.lost is not None
    assert watch.lost.exit_code == EXIT_CLUSTER_LOST
    assert watch.lost.cluster_is_lost
    assert watch.lost.reason.startswith("the raylet at 127.0.0.1:")
    assert "the same command goes on" in watch.lost.how_to_go_on


def test_a_head_that_comes_back_in_time_is_not_lost(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with ClusterWatch([place(listener, 5.0)], SMALL, lambda: SMALL, look_seconds=0.02) as watch:
        listener.close()
        time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)):
            time.sleep(0.3)
            assert watch.lost is None
