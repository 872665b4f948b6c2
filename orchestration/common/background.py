"""Calls in a daemon thread: nobody has to wait for them, and they keep no process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def in_background(name: str, call: Callable[[], Answer]) -> Future[Answer]:
    """Return the future of a call. It cannot be cancelled, and may be answered when nobody waits any more."""
    answer: Future[Answer] = Future()
    answer.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001  raised in the thread that waits for the answer
            answer.set_exception(error)
        else:
            answer.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return answer
