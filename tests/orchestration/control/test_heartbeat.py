"""Heartbeats: whether a driver is there, without trusting its clock; hostile files; requests to stop."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from orchestration.commands.stop import stop
from orchestration.common.errors import UserError
from orchestration.control.heartbeat import (
    BEAT_SECONDS,
    DamagedHeartbeatError,
    TaskProgress,
    find_driver,
    read_heartbeat,
)
from orchestration.control.heartbeat_writer import DriverState, HeartbeatWriter
from orchestration.control.stop_request import StopRequest, ask_to_stop, read_stop_request
from orchestration.storage.layout import heartbeat_file, stop_file
from orchestration.storage.store import Store
from tests.support.stored_sweeps import beat

HOUR = 3600.0


def no_sleep(_: float) -> None:
    raise AssertionError("a beat that needs no watching was watched")


def test_without_a_heartbeat_no_driver_ever_ran(store: Store) -> None:
    assert str(find_driver(store, "quickstart", sleep=no_sleep)) == "No driver has run this sweep here."


def test_a_beat_comes_back_as_it_was_written(store: Store) -> None:
    running = (TaskProgress("a", 3, 10, 0.5),)
    written = beat(store, running=running, failed={"b": "out of luck"}, restarts={"a": 2}, accelerator_seconds=4.5)
    assert read_heartbeat(store, "quickstart") == written


def test_a_fresh_beat_is_believed_at_once(store: Store) -> None:
    written = beat(store, age=20)
    driver = find_driver(store, "quickstart", wall_clock=lambda: written.written_at + 20, sleep=no_sleep)
    assert driver.state == "running"
    assert str(driver) == "Running: driver 42 on there, heard of 20 s ago."


def test_the_last_beat_of_a_driver_that_ended_says_how(store: Store) -> None:
    beat(store, age=9 * HOUR, phase="ended", outcome="all is done")
    driver = find_driver(store, "quickstart", sleep=no_sleep)
    assert driver.state == "ended"
    assert str(driver) == "No driver is running: the last one, driver 42 on there, ended (all is done)."


@pytest.mark.parametrize("age", [61, HOUR, -HOUR])
def test_an_old_beat_that_does_not_go_on_means_that_the_driver_is_gone(store: Store, age: float) -> None:
    beat(store, age=age)
    waited: list[float] = []
    driver = find_driver(store, "quickstart", sleep=waited.append)
    assert driver.state == "gone"
    assert sum(waited) == 12
    assert "is gone without a word" in str(driver)
    assert ("the two clocks disagree" if age < 0 else "ago by this machine's clock") in str(driver)


@pytest.mark.proves(23)
@pytest.mark.parametrize("age", [HOUR, -HOUR])
def test_a_driver_whose_clock_is_wrong_by_an_hour_is_there_if_its_beats_go_on(store: Store, age: float) -> None:
    beat(store, age=age)
    counts = iter(range(8, 99))
    driver = find_driver(store, "quickstart", sleep=lambda _: beat(store, age=age, beat=next(counts)) and None)
    assert driver.state == "running"


def test_a_driver_that_ends_while_it_is_watched_has_ended(store: Store) -> None:
    beat(store, age=HOUR)

    def end(_: float) -> Any:
        return beat(store, age=HOUR, beat=8, phase="ended", outcome="all is done")

    assert find_driver(store, "quickstart", sleep=end).state == "ended"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"driver": "d1", ', "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 200_000, "is damaged"),
        (b"[]", "a JSON object is needed"),
        (b"{}", "is not of this version"),
        (b'{"format": 2}', "is not of this version"),
        (
            b'{"driver": 3, "host": "h", "pid": "x", "beat": NaN, "written_at": "noon", "phase": "?"}',
            "is not of this v",
        ),
    ],
)
def test_a_damaged_heartbeat_is_named_and_nothing_is_guessed(store: Store, content: bytes, expected: str) -> None:
    store.write(heartbeat_file("quickstart"), content)
    with pytest.raises(DamagedHeartbeatError, match=expected):
        read_heartbeat(store, "quickstart")
    driver = find_driver(store, "quickstart")
    assert driver.state == "unknown"
    assert expected in driver.problem
    assert str(driver) == f"Whether a driver is running is not known: {driver.problem}."
    with pytest.raises(UserError, match="which driver to ask is not known"):
        stop(store, "quickstart")


def state() -> DriverState:
    return DriverState(running=(TaskProgress("a", 3, 10, 0.5),), accelerator_seconds=4.5)


def beating(store: Store) -> HeartbeatWriter:
    writer = HeartbeatWriter(store, "quickstart", state, beat_seconds=0.05)
    writer.start()
    writer.phase = "running"
    until(lambda: find_driver(store, "quickstart").state == "running")
    return writer


def close(writer: HeartbeatWriter, outcome: str) -> None:
    """Close it as in a launch: it waits for ten of its intervals for a beat on its way, which would be the last one.

    Ten of a test's are half a second, and a busy machine may take longer.
    """
    writer._beat_seconds = BEAT_SECONDS
    writer.close(outcome)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.01)


def test_a_pulse_beats_until_it_is_closed_and_says_how_it_ended(store: Store) -> None:
    writer = beating(store)
    first = read_heartbeat(store, "quickstart")
    assert first is not None
    assert first.running == state().running
    until(lambda: (read_heartbeat(store, "quickstart") or first).beat > first.beat + 2)
    close(writer, "all is done")
    last = read_heartbeat(store, "quickstart")
    assert last is not None
    assert (last.phase, last.outcome, last.driver) == ("ended", "all is done", first.driver)
    time.sleep(0.2)
    assert read_heartbeat(store, "quickstart") == last


def test_a_store_that_fails_does_not_end_the_launch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = beating(store)
    with monkeypatch.context() as broken:
        broken.setattr(store, "write", lambda *_: (_ for _ in ()).throw(OSError("no route to the store")))
        time.sleep(0.3)
    before = read_heartbeat(store, "quickstart")
    assert before is not None
    until(lambda: (read_heartbeat(store, "quickstart") or before).beat > before.beat)
    close(writer, "all is done")


def test_a_driver_takes_up_a_request_ends_and_leaves_none_behind(store: Store) -> None:
    writer, said = beating(store), list[str]()

    def driver() -> None:
        until(lambda: writer.stop_requested)
        time.sleep(0.2)
        close(writer, "stopped: it was asked to by `--stop`")

    thread = threading.Thread(target=driver)
    thread.start()
    assert stop(store, "quickstart", said.append) == 0
    thread.join()
    assert "to stop ..." in said[0]
    assert said[-1].endswith(
        "has ended (stopped: it was asked to by `--stop`). Submitting the sweep again goes on from there."
    )
    assert not store.exists(stop_file("quickstart"))


def test_a_request_that_nobody_answers_is_withdrawn(store: Store) -> None:
    beat(store, age=5)  # it died five seconds ago
    said: list[str] = []
    assert stop(store, "quickstart", said.append, answer_seconds=0.1) == 1
    assert "did not answer within 0.1 s; the request is withdrawn" in said[-1]
    assert not store.exists(stop_file("quickstart"))


def test_a_request_that_stayed_behind_does_not_stop_the_next_driver(store: Store) -> None:
    ask_to_stop(store, "quickstart", StopRequest("the driver before"))
    writer = beating(store)
    time.sleep(0.3)
    assert not writer.stop_requested
    close(writer, "all is done")


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"driver": "d1"}'])
def test_a_damaged_request_stops_nobody(store: Store, content: bytes) -> None:
    store.write(stop_file("quickstart"), content)
    assert read_stop_request(store, "quickstart") is None


@pytest.mark.parametrize("state", [{}, {"phase": "ended", "outcome": "all is done"}])
def test_there_is_nothing_to_stop_where_no_driver_runs(store: Store, state: dict[str, Any]) -> None:
    if state:
        beat(store, **state)
    said: list[str] = []
    assert stop(store, "quickstart", said.append) == 0
    assert said[0].endswith("There is nothing to stop.")
    assert not store.exists(stop_file("quickstart"))


def test_a_driver_that_takes_long_to_stop_is_said_to_be_stopping(store: Store) -> None:
    writer, said = beating(store), list[str]()
    assert stop(store, "quickstart", said.append, end_seconds=0.1) == 0
    assert "It stops: nothing new starts" in said[1]
    assert "is still stopping after 0.1 s" in said[2]
    found = read_heartbeat(store, "quickstart")
    assert found is not None
    assert found.phase == "stopping"
    close(writer, "stopped")
    assert not store.exists(stop_file("quickstart"))


def test_a_heartbeat_is_plain_json(store: Store) -> None:
    beat(store)
    assert json.loads(store.read(heartbeat_file("quickstart")))["format"] == 1
