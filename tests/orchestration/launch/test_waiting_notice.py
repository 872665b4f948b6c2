"""Notices of work that waits for room: after a while, then ever more rarely; the heartbeat has them all the time."""

from __future__ import annotations

import io
import re

from rich.console import Console

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.control.heartbeat import Waiting
from orchestration.launch.progress_display import Display
from orchestration.launch.waiting_notice import NOTICE_SECONDS, WaitingNotice

WHAT = "1 training, each for 2 workers with 1 CPU"


def capacity(*seconds: float) -> Capacity:
    waiting = tuple(Waiting(WHAT, waited) for waited in seconds)
    return Capacity((NodeSize(4),), coming=(NodeSize(8),), waiting=waiting)


def test_a_wait_is_told_after_the_limit_and_again_when_it_has_doubled() -> None:
    output, told = io.StringIO(), []
    display = Display(Console(file=output, width=200))
    notice = WaitingNotice(display)
    for second in range(500):
        before = output.getvalue()
        notice.look(capacity(second))
        assert [one.seconds for one in display.waiting] == ([second] if second >= NOTICE_SECONDS else [])
        told += [second] if output.getvalue() != before else []
    assert told == [30, 60, 120, 240, 480]
    pattern = (
        rf"Waiting since \d\d:\d\d:\d\d, for 0:30: {WHAT}\. Ray has 1 node\(s\), 4 CPUs, 0 GPUs; 1 node can come\."
    )
    assert re.fullmatch(pattern, output.getvalue().splitlines()[0])


def test_a_wait_that_is_over_is_forgotten_and_the_next_one_told_anew() -> None:
    output = io.StringIO()
    display = Display(Console(file=output, width=200))
    notice = WaitingNotice(display)
    for seconds in ((40.0,), (45.0, 10.0), (15.0,), (31.0,), ()):
        notice.look(capacity(*seconds))
    assert display.waiting == ()
    assert re.findall(r"for (0:\d\d):", output.getvalue()) == ["0:40", "0:31"]
