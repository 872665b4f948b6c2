"""What waits for room is told after a while, then ever more rarely; the heartbeat has it all the time."""

from __future__ import annotations

import io

from rich.console import Console

from orchestration.cluster.capacity import Capacity, NodeSize
from orchestration.control.heartbeat import Waiting
from orchestration.launch.progress_display import Display
from orchestration.launch.waiting_notice import NOTICE_SECONDS, WaitingNotice

BEGIN = 1_000_000.0
ONE = Waiting("1 training, each for 2 workers with 1 CPU", BEGIN)


def test_a_wait_is_told_after_the_limit_and_again_when_it_has_doubled() -> None:
    output, seconds = io.StringIO(), [0.0]
    display = Display(Console(file=output, width=200))
    notice = WaitingNotice(display, lambda: BEGIN + seconds[0])
    told = []
    for second in range(500):
        seconds[0] = float(second)
        before = output.getvalue()
        notice.look(Capacity((NodeSize(4),), coming=(NodeSize(8),), waiting=(ONE,)))
        assert display.waiting == ((ONE,) if second >= NOTICE_SECONDS else ())
        told += [second] if output.getvalue() != before else []
    assert told == [30, 60, 120, 240, 480]
    first = output.getvalue().splitlines()[0]
    assert first.endswith(
        ": 1 training, each for 2 workers with 1 CPU, for 0:30 now. Ray has 1 node(s), 4 CPUs, 0 GPUs; 1 node can come."
    )
    assert first.startswith("Waiting since ")


def test_a_wait_that_is_over_is_forgotten_and_the_next_one_told_anew() -> None:
    output, seconds = io.StringIO(), [40.0]
    display = Display(Console(file=output, width=200))
    notice = WaitingNotice(display, lambda: BEGIN + seconds[0])
    notice.look(Capacity((), waiting=(ONE,)))
    notice.look(Capacity(()))
    assert display.waiting == ()
    notice.look(Capacity((), waiting=(Waiting(ONE.what, BEGIN + 5),)))
    assert output.getvalue().count("Waiting since") == 2
