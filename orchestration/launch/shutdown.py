"""The end of a launch before its plan is done: trainings get time to write a checkpoint, evaluators end at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from orchestration.control.outcome import EarlyExit
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.running_tasks import RunningTasks

GRACE_SECONDS = 120.0
"""Time for trainings to reach their next point of the curve and write a checkpoint; others resume from their last."""
_POLL_SECONDS = 0.3


def end_early(
    early_exit: EarlyExit,
    context: LaunchContext,
    running: RunningTasks,
    progress_board: Any,
    collect: Callable[[], None],
) -> None:
    """Stop everything that runs where it can resume.

    Args: collect: reads the progress board and takes the trainings that ended.
    """
    context.outcome.early_exit = early_exit
    if early_exit.cluster_is_lost:  # nobody is there who could be asked to stop, or be waited for
        for task in (*running.trainings.values(), *running.measured.values()):
            context.mark_stopped(task, "stopped, goes on from what it last wrote")
        return
    checkpoints = "nothing more is written" if early_exit.is_fenced else "trainings write a checkpoint"
    context.display.say(f"Stopping: {early_exit.reason}; {checkpoints}.")
    if running.pool:
        running.pool.abandon()
        running.pool = None
    for task in running.measured.values():
        context.mark_stopped(task, "stopped")
    running.measured.clear()
    if not early_exit.is_fenced:
        shut_down(progress_board, lambda: len(running.trainings), collect)
    for task in running.trainings.values():
        context.mark_stopped(task, "stopped, goes on from its last checkpoint")
    running.groups.close_idle()


def shut_down(
    progress_board: Any,
    num_running: Callable[[], int],
    collect: Callable[[], None],
    grace_seconds: float = GRACE_SECONDS,
) -> bool:
    """Ask trainings to stop and wait for them. Return whether all ended in time."""
    deadline = time.monotonic() + grace_seconds
    while num_running() and time.monotonic() < deadline:
        progress_board.stop.remote()  # again and again: a board that was restarted has forgotten it
        collect()
        time.sleep(_POLL_SECONDS)
    return not num_running()
