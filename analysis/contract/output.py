"""Standard streams of a program: a lost reader, a full disk or a closed stream changes no result and no exit code."""

from __future__ import annotations

import atexit
import io
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO


class _Unfailing:
    """A text stream that drops what cannot be written; anything else is as the stream has it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def make_output_unfailing() -> None:
    """Open closed standard streams on the null device, and let output never raise, nor for letters that its encoding
    lacks, which are replaced. Programs call it first.

    A file that got the number of a closed stream would hold what libraries write to it.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: the stream's own
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, "r" if name == "stdin" else "w", encoding="utf-8"))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # letters that the output's encoding lacks
        setattr(sys, name, _Unfailing(stream))
        atexit.register(_drop_unwritable, stream)


def _drop_unwritable(stream: TextIO) -> None:
    """Flush a stream; where that fails, lose the rest: Python would fail at it again, and end with code 120."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
