"""A step that hangs is noticed, with where it does; one that is only slow is waited for."""

from __future__ import annotations

import logging
import threading

import pytest

from orchestration.training.hang_watch import TIMES_MEDIAN, StepWatch
from tests.support.clock import Clock, until

LEAST = 0.3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The watch's clock: by the machine's, a test that is held up for a moment would be a step that hangs."""
    clock = Clock()
    monkeypatch.setattr("orchestration.training.hang_watch.time", clock)
    return clock


class Told:
    """The reports of a watch."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.at = threading.Event()

    def __call__(self, report: str) -> None:
        self.reports.append(report)
        self.at.set()


class Watch(StepWatch):
    """Counts how often its thread looks."""

    num_looks = 0

    def limit_seconds(self) -> float:
        self.num_looks += threading.current_thread() is self._thread
        return super().limit_seconds()

    def looks(self) -> None:
        """Return once it has looked at the clock as it is now, or looks no more: the look after that has begun."""
        seen = self.num_looks
        until(lambda: self.num_looks >= seen + 2 or not self._thread.is_alive())


def stuck(released: threading.Event) -> None:
    released.wait(90)


@pytest.mark.proves(7)
def test_a_step_that_hangs_is_noticed_once_and_told_where(clock: Clock) -> None:
    told, released = Told(), threading.Event()
    hanging = threading.Thread(target=stuck, args=(released,), name="training")
    hanging.start()
    with Watch(LEAST, told) as watch:
        for _ in range(5):
            watch.stepped()
        clock.now += 0.9 * LEAST
        watch.looks()
        assert told.reports == []
        clock.now += 7.0
        assert told.at.wait(60)
        clock.now += 7.0
        watch.looks()
    released.set()
    hanging.join()
    (report,) = told.reports
    assert report.startswith("a step has taken 7 s, 0 s is the limit: it hangs")
    assert "thread training" in report
    assert "in stuck" in report


def test_steps_that_are_long_as_usual_are_no_hang(clock: Clock) -> None:
    told = Told()
    with Watch(0.01, told) as watch:
        watch.stepped()
        watch._durations.clear()
        watch._durations.extend([0.2] * 9)
        assert watch.limit_seconds() == pytest.approx(0.2 * TIMES_MEDIAN)
        clock.now += 0.9 * 0.2 * TIMES_MEDIAN
        watch.looks()
    assert told.reports == []


def test_before_the_first_step_there_is_another_limit(clock: Clock) -> None:
    told = Told()
    with Watch(0.01, told, first_seconds=0.2) as watch:
        clock.now += 0.1
        watch.looks()
        assert told.reports == []
        clock.now += 0.2
        assert told.at.wait(60)


def test_what_has_deadlines_of_its_own_is_not_counted(clock: Clock) -> None:
    told = Told()
    with Watch(LEAST, told) as watch:
        watch.stepped()
        with watch.paused():
            clock.now += 2 * LEAST
            watch.looks()
        watch.stepped()
    assert told.reports == []
    assert max(watch._durations) < LEAST


def test_after_a_pause_the_step_goes_on_and_can_hang(clock: Clock) -> None:
    told = Told()
    with Watch(LEAST, told) as watch:
        watch.stepped()
        with pytest.raises(OSError, match="away"), watch.paused():
            raise OSError("away")
        clock.now += 2 * LEAST
        assert told.at.wait(60)


@pytest.mark.proves(8)
def test_a_slow_step_is_a_warning(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with Watch(60, Told()) as watch, caplog.at_level(logging.WARNING):
        watch._durations.extend([0.1] * 9)
        clock.now += 3.0
        watch.stepped()
        watch.stepped()
    assert caplog.messages == ["a step took 3.0 s, 0.10 s is usual"]
