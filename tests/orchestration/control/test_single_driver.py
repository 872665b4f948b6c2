"""One driver a sweep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestration import sweep
from orchestration.control.heartbeat import Heartbeat, find_driver, read_heartbeat, write_heartbeat
from orchestration.control.heartbeat_writer import DriverState, HeartbeatWriter
from orchestration.control.lease import lease_in_force, take_lease
from orchestration.control.single_driver import SecondDriverError, ensure_single_driver
from orchestration.storage.store import Store
from tests.orchestration.conftest import QUICKSTART
from tests.support.stored_sweeps import beat

HERE = socket.gethostname()


def silent(_seconds: float) -> None: ...


def goes_on(store: Store, last: Heartbeat) -> Callable[[float], None]:
    return lambda _seconds: write_heartbeat(store, "quickstart", replace(last, beat=last.beat + 1))


def test_a_sweep_that_nobody_runs_is_not_refused(store: Store) -> None:
    ensure_single_driver(store, "quickstart", silent)
    beat(store, phase="ended")
    ensure_single_driver(store, "quickstart", goes_on(store, beat(store, phase="ended")))
    beat(store)
    ensure_single_driver(store, "quickstart", silent)  # its beats have stopped
    store.write("status/quickstart.json", b"{")
    ensure_single_driver(store, "quickstart", silent)


def test_a_driver_that_goes_on_is_named_and_the_second_refused(store: Store) -> None:
    last = beat(store, age=3600.0)  # whatever its clock says
    with pytest.raises(SecondDriverError, match=r"driver 42 on there, heard of .*\. Look at it with --status"):
        ensure_single_driver(store, "quickstart", goes_on(store, last))


def test_nobody_waits_for_a_process_of_this_machine_that_is_gone(store: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def fail(_seconds: float) -> None:
        raise AssertionError("waited for a dead process")

    beat(store, host=HERE, pid=ended.pid)
    ensure_single_driver(store, "quickstart", fail)
    last = beat(store, host=HERE, pid=os.getppid())
    with pytest.raises(SecondDriverError):
        ensure_single_driver(store, "quickstart", goes_on(store, last))


@pytest.mark.proves(22)
def test_the_command_refuses_with_code_3_and_starts_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_store: Store, name: str) -> None:
        raise SecondDriverError(f"somebody runs {name}")

    monkeypatch.setattr("orchestration.control.single_driver.ensure_single_driver", refuse)
    monkeypatch.setattr("orchestration.launch.run_sweep.run_sweep", lambda *_: pytest.fail("it was started"))
    assert sweep.main([str(QUICKSTART), f"storage.root={store.root}"]) == 3
    assert "somebody runs quickstart" in capsys.readouterr().err


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.02)


@pytest.mark.proves(22)
def test_of_two_drivers_the_one_that_took_the_sweep_later_stays(store: Store) -> None:
    first, second = (HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02) for _ in range(2))
    first.start()
    second.start()
    until(lambda: first.fenced)
    assert first.fenced is not None
    assert f"another driver, {os.getpid()} on {HERE}, " in first.fenced.reason
    assert first.fenced.exit_code == 3

    def left() -> tuple[str, str] | None:
        beat = read_heartbeat(store, "quickstart")
        return beat and (beat.driver, beat.phase)

    until(lambda: left() == (second.driver, "starting"))  # the first's last beat may have come after its first
    first.close("gave way")
    assert left() == (second.driver, "starting")
    second.close("all is done")
    assert second.fenced is None


@pytest.mark.proves(22)
def test_a_driver_that_was_frozen_while_another_took_over_writes_no_more(store: Store) -> None:
    """As after SIGSTOP, or behind a network that was away: it believes that it runs the sweep."""
    frozen = HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02)
    frozen._lease = take_lease(store, "quickstart", frozen.driver)
    frozen._once("")
    assert read_heartbeat(store, "quickstart") is not None
    other = HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02)
    other._lease = take_lease(store, "quickstart", other.driver)
    other._once("")
    frozen._once("")
    frozen._once("")
    beat_there = read_heartbeat(store, "quickstart")
    assert beat_there is not None
    assert beat_there.driver == other.driver
    assert frozen.fenced


@pytest.mark.proves(22)
def test_each_epoch_is_taken_once_whoever_tries_at_the_same_time(store: Store) -> None:
    taken: list[int] = []

    def take() -> None:
        for _ in range(20):
            lease = take_lease(store, "quickstart", "d")
            if lease is not None:
                taken.append(lease.epoch)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(1, max(taken) + 1))
    assert len(taken) >= 20


def test_a_lease_is_ended_by_any_later_one_and_named_by_the_last(store: Store) -> None:
    leases = [take_lease(store, "quickstart", f"d{number}") for number in range(6)]
    assert take_lease(store, "other", "d") is not None
    in_force = [lease_in_force(store, "quickstart", lease) for lease in leases[3:] if lease is not None]
    assert [lease and lease.driver for lease in in_force] == ["d5", "d5", "d5"]
    store.write("leases/quickstart/epoch-000000006.json", b"{")
    for lease in leases:
        assert lease is not None
        assert lease_in_force(store, "quickstart", lease) not in (None, lease)  # whoever took it, it is gone


@pytest.mark.proves(22)
@pytest.mark.parametrize("removed", ["leases/quickstart/epoch-000000001.json", "leases", ""])
def test_a_driver_whose_lease_is_removed_says_so_and_writes_no_more(
    store: Store, removed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, between_beats = HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02), threading.Lock()
    once = writer._once

    def undisturbed(outcome: str) -> None:
        with between_beats:
            once(outcome)

    monkeypatch.setattr(writer, "_once", undisturbed)
    writer.start()
    until(lambda: read_heartbeat(store, "quickstart"))
    assert writer.fenced is None
    with between_beats:  # a beat that has just looked at its lease would still be written
        store.remove(removed)
    until(lambda: writer.fenced)
    assert writer.fenced is not None
    assert (writer.fenced.exit_code, writer.fenced.is_fenced) == (1, True)
    lease = f"{store.root}/leases/quickstart/epoch-000000001.json"
    assert writer.fenced.reason == f"its lease is gone: somebody has removed {lease}, or the whole storage root"
    before = store.tree()
    writer.close("all is done")
    assert store.tree() == before
    assert (removed == "") == (not before)


def test_a_driver_that_takes_the_removed_epoch_again_is_another(store: Store) -> None:
    """Both hold epoch 1, as after `rm -r` of the root and a second submission."""
    first, second = (HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02) for _ in range(2))
    first._lease = take_lease(store, "quickstart", first.driver)
    store.remove("")
    second._lease = take_lease(store, "quickstart", second.driver)
    for writer in (first, second, first, second):
        writer._once("")
    assert first.fenced is not None
    assert first.fenced.exit_code == 3
    assert second.fenced is None
    left = read_heartbeat(store, "quickstart")
    assert left is not None
    assert left.driver == second.driver


def test_a_store_that_does_not_answer_ends_no_lease(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02)
    writer._lease = take_lease(store, "quickstart", writer.driver)

    def fail(*_: object) -> bytes:
        raise PermissionError("stale")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "read", fail)
        writer._once("")
    assert writer.fenced is None
    writer._once("")
    assert read_heartbeat(store, "quickstart") is not None


@pytest.mark.proves(23)
def test_a_clock_that_jumps_back_at_every_look_changes_neither_lease_nor_beats(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]

    def jumping() -> float:
        now[0] -= 3600.0
        return now[0]

    monkeypatch.setattr("orchestration.control.heartbeat_writer.time.time", jumping)
    writers = [HeartbeatWriter(store, "quickstart", DriverState, beat_seconds=0.02) for _ in range(3)]
    for writer in writers:
        writer._lease = take_lease(store, "quickstart", writer.driver)
        writer._once("")
    for _ in range(3):
        for writer in writers:
            writer._once("")
    assert [bool(writer.fenced) for writer in writers] == [True, True, False]
    last = read_heartbeat(store, "quickstart")
    assert last is not None
    assert (last.driver, last.beat) == (writers[2].driver, 4)

    def sleep(_seconds: float) -> None:
        writers[2]._once("")

    assert find_driver(store, "quickstart", sleep=sleep).state == "running"
