"""One driver a sweep, and what a driver does that is told to end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from orchestration import sweep
from orchestration.heartbeat import Heartbeat, read_heartbeat, write_heartbeat
from orchestration.only_driver import SecondDriverError, refuse_second, steps_back
from orchestration.pulse import Pulse, Vitals
from orchestration.storage import Store
from orchestration.termination import termination
from tests.orchestration.conftest import QUICKSTART
from tests.orchestration.made_up import beat

HERE = socket.gethostname()


def silent(_seconds: float) -> None: ...


def goes_on(store: Store, last: Heartbeat) -> Callable[[float], None]:
    return lambda _seconds: write_heartbeat(store, "quickstart", replace(last, beat=last.beat + 1))


def test_a_sweep_that_nobody_runs_is_not_refused(store: Store) -> None:
    refuse_second(store, "quickstart", silent)
    beat(store, phase="ended")
    refuse_second(store, "quickstart", goes_on(store, beat(store, phase="ended")))
    beat(store)
    refuse_second(store, "quickstart", silent)  # its beats have stopped
    store.write("status/quickstart.json", b"{")
    refuse_second(store, "quickstart", silent)


def test_a_driver_that_goes_on_is_named_and_the_second_refused(store: Store) -> None:
    last = beat(store, age=3600.0)  # whatever its clock says
    with pytest.raises(SecondDriverError, match=r"driver 42 on there, heard of .*\. Look at it with --status"):
        refuse_second(store, "quickstart", goes_on(store, last))


def test_nobody_waits_for_a_process_of_this_machine_that_is_gone(store: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    def fail(_seconds: float) -> None:
        raise AssertionError("waited for a dead process")

    beat(store, host=HERE, pid=ended.pid)
    refuse_second(store, "quickstart", fail)
    last = beat(store, host=HERE, pid=os.getppid())
    with pytest.raises(SecondDriverError):
        refuse_second(store, "quickstart", goes_on(store, last))


def test_the_command_refuses_with_code_3_and_starts_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_store: Store, name: str) -> None:
        raise SecondDriverError(f"somebody runs {name}")

    monkeypatch.setattr("orchestration.only_driver.refuse_second", refuse)
    monkeypatch.setattr("orchestration.execution.execute", lambda *_: pytest.fail("it was started"))
    assert sweep.main([str(QUICKSTART), f"storage.root={store.root}"]) == 3
    assert "somebody runs quickstart" in capsys.readouterr().err


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_that_start_together_one_gives_way_whoever_writes_first(store: Store, first: int) -> None:
    pulses = sorted((Pulse(store, "quickstart", Vitals, beat_seconds=0.02) for _ in range(2)), key=lambda p: p.driver)
    for one in (pulses[first], pulses[1 - first]):
        one.start()
    deadline = time.monotonic() + 10
    while not pulses[1].gave_way_to and time.monotonic() < deadline:
        time.sleep(0.02)
    assert pulses[1].gave_way_to == f"{os.getpid()} on {HERE}"
    pulses[1].close("gave way")
    time.sleep(0.1)
    left = read_heartbeat(store, "quickstart")
    assert left is not None
    assert (left.driver, left.phase) == (pulses[0].driver, "starting")
    pulses[0].close("all is done")
    assert pulses[0].gave_way_to == ""


def test_a_driver_that_ended_makes_nobody_give_way(store: Store) -> None:
    assert not steps_back("b", beat(store, driver="a", phase="ended"))
    assert not steps_back("b", beat(store, driver="b"))
    assert not steps_back("b", None)
    assert steps_back("b", beat(store, driver="a"))
    assert not steps_back("a", beat(store, driver="b"))


def test_the_first_sigterm_asks_and_the_second_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with termination() as asked:
        assert not asked()
        signal.raise_signal(signal.SIGTERM)
        assert asked()
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
