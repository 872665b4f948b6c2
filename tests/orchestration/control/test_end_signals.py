"""A driver that is told to end, or whose terminal closes, ends by our codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from orchestration.control.end_signals import EndSignals


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of a terminal, also where the tests run under nohup; after a test the handlers are the old ones."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def exit_code(signals: EndSignals) -> int | None:
    return None if signals.early_exit is None else signals.early_exit.exit_code


@pytest.mark.proves(5)
def test_the_first_sigterm_asks_and_the_second_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with EndSignals() as signals:
        signals.listen()
        assert signals.early_exit is None
        signal.raise_signal(signal.SIGTERM)
        assert exit_code(signals) == 143
        with pytest.raises(SystemExit) as ended:
            signal.raise_signal(signal.SIGTERM)
        assert ended.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.proves(5)
def test_a_terminal_that_closes_is_a_sigterm_however_often_it_says_so() -> None:
    with EndSignals() as signals:
        signals.listen()
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        assert exit_code(signals) == 129
        with pytest.raises(SystemExit):
            signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGHUP)  # while the report is written
    assert exit_code(signals) == 129


def test_a_sighup_that_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with EndSignals() as signals:
        signals.listen()
        signal.raise_signal(signal.SIGHUP)
        assert signals.early_exit is None
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


HANGS_UP = "import os, signal; os.kill(os.getpid(), signal.SIGHUP); print('alive')"


def test_a_process_that_starts_before_we_listen_outlives_the_terminal() -> None:
    """Ray's processes do so: without them a training could not write its checkpoint."""
    with EndSignals() as signals:
        assert subprocess.run([sys.executable, "-c", HANGS_UP], capture_output=True, check=True).stdout == b"alive\n"
        signal.raise_signal(signal.SIGHUP)
        assert signals.early_exit is None
        signals.listen()
        assert exit_code(signals) == 129
        after = subprocess.run([sys.executable, "-c", HANGS_UP], capture_output=True, check=False)
        assert after.returncode == -signal.SIGHUP


def test_without_a_signal_all_is_as_it_was() -> None:
    before = [signal.getsignal(signal.SIGHUP), signal.pthread_sigmask(signal.SIG_BLOCK, ())]
    with EndSignals() as signals:
        signals.listen()
    with pytest.raises(ValueError, match="before"), EndSignals():
        raise ValueError("before it listens")
    assert [signal.getsignal(signal.SIGHUP), signal.pthread_sigmask(signal.SIG_BLOCK, ())] == before
