"""Work in a thread of its own that nobody has to wait for: a daemon, so that it holds no process back from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def in_background(name: str, call: Callable[[], Answer]) -> Future[Answer]:
    """What `call` returns or raises, in the future. It cannot be cancelled, and may come when nobody waits any more."""
    answer: Future[Answer] = Future()
    answer.set_running_or_notify_cancel()

    def work() -> None:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001  whatever it is, whoever waits raises it
            answer.set_exception(error)
        else:
            answer.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return answer
