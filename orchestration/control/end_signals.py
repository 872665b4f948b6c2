"""The signals that end a launch: SIGTERM of schedulers and `ray job stop`, SIGHUP of a terminal that closes.

The first one asks to end at checkpoints, a second SIGTERM ends at once. A closing terminal may send several SIGHUPs.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from orchestration.common.exit_codes import EXIT_HANGUP, EXIT_TERMINATED
from orchestration.control.outcome import EarlyExit

_RESUME = "the same command goes on from here"
_EXITS = {
    signal.SIGTERM: EarlyExit(EXIT_TERMINATED, "its process was told to end (SIGTERM)", _RESUME),
    signal.SIGHUP: EarlyExit(EXIT_HANGUP, "its terminal closed (SIGHUP)", _RESUME),
}


class EndSignals:
    """Hears the signals of one launch for the length of a `with` block, from `listen` on.

    Outside the main thread Python handles no signals, and none is heard.
    """

    def __init__(self) -> None:
        self.early_exit: EarlyExit | None = None
        """Reason to end; None if no signal came."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> EndSignals:
        """Hold SIGHUP back: processes that start before `listen` inherit that, and outlive the terminal as we do."""
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
        return self

    def listen(self) -> None:
        """Take the signals that are not ignored, as SIGHUP is under `nohup`."""
        if threading.current_thread() is threading.main_thread():
            taken = [number for number in _EXITS if signal.getsignal(number) is not signal.SIG_IGN]
            self._before |= {number: signal.signal(number, self._take) for number in taken}
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.early_exit is _EXITS[signal.SIGHUP]:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the report is written without a terminal, too
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def _take(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.early_exit is not None and number == signal.SIGTERM:
            raise SystemExit(EXIT_TERMINATED)
        self.early_exit = self.early_exit or _EXITS[signal.Signals(number)]
