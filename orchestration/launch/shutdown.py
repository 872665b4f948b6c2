"""The end of a launch before its plan is done: trainings get time to write a checkpoint, evaluators end at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

GRACE_SECONDS = 120.0
"""For trainings to reach their next point of the curve and write a checkpoint; the others go on from their last."""
_POLL_SECONDS = 0.3


def shut_down(
    board: Any, running: Callable[[], int], look: Callable[[], None], grace_seconds: float = GRACE_SECONDS
) -> bool:
    """Asks trainings to stop and waits for them.

    Args: running: how many trainings run. look: reads their news and takes those that ended.
    Returns: whether all ended in time.
    """
    deadline = time.monotonic() + grace_seconds
    while running() and time.monotonic() < deadline:
        board.stop.remote()  # again and again: a board that started anew has forgotten it
        look()
        time.sleep(_POLL_SECONDS)
    return not running()
