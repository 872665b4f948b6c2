"""A step that hangs is noticed, with where it does; one that is only slow is waited for."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from orchestration.training.hang_watch import TIMES_MEDIAN, StepWatch

LEAST = 0.3


class Told:
    """The reports of a watch."""

    def __init__(self) -> None:
        self.reports: list[str] = []
        self.at = threading.Event()

    def __call__(self, report: str) -> None:
        self.reports.append(report)
        self.at.set()


def stuck(released: threading.Event) -> None:
    released.wait(90)


def test_a_step_that_hangs_is_noticed_once_and_told_where() -> None:
    told, released = Told(), threading.Event()
    hanging = threading.Thread(target=stuck, args=(released,), name="training")
    hanging.start()
    with StepWatch(LEAST, told) as watch:
        for _ in range(5):
            watch.stepped()
        began = time.monotonic()
        assert told.at.wait(60)
        assert time.monotonic() - began >= LEAST
        time.sleep(2 * LEAST)
    released.set()
    hanging.join()
    (report,) = told.reports
    assert report.startswith("a step has taken 0 s, 0 s is the limit: it hangs")
    assert "thread training" in report
    assert "in stuck" in report


def test_steps_that_are_long_as_usual_are_no_hang() -> None:
    told = Told()
    with StepWatch(0.01, told) as watch:
        watch.stepped()
        watch._durations.clear()
        watch._durations.extend([0.2] * 9)
        assert watch.limit_seconds() == pytest.approx(0.2 * TIMES_MEDIAN)
        time.sleep(0.6)
    assert told.reports == []


def test_before_the_first_step_there_is_another_limit() -> None:
    told = Told()
    with StepWatch(0.01, told, first_seconds=0.2):
        time.sleep(0.1)
        assert told.reports == []
        assert told.at.wait(60)


def test_what_has_deadlines_of_its_own_is_not_counted() -> None:
    told = Told()
    with StepWatch(LEAST, told) as watch:
        watch.stepped()
        with watch.paused():
            time.sleep(2 * LEAST)
        watch.stepped()
    assert told.reports == []
    assert max(watch._durations) < LEAST


def test_after_a_pause_the_step_goes_on_and_can_hang() -> None:
    told = Told()
    with StepWatch(LEAST, told) as watch:
        watch.stepped()
        with pytest.raises(OSError, match="away"), watch.paused():
            raise OSError("away")
        assert told.at.wait(60)


def test_a_slow_step_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with StepWatch(60, Told()) as watch, caplog.at_level(logging.WARNING):
        watch._durations.extend([0.1] * 9)
        assert watch._began is not None
        watch._began -= 3.0
        watch.stepped()
        watch.stepped()
    assert caplog.messages == ["a step took 3.0 s, 0.10 s is usual"]
