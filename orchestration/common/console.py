"""The console that commands print to, and clock times in words."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from analysis.contract.printable import printable

_LOG_WIDTH = 150


class _PlainConsole(Console):
    """One whose texts, cells of tables included, hold no control characters: only its own reach a terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def make_console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a table in a log."""
    stream = getattr(sys.stdout, "drawable", None)
    console = _PlainConsole(file=stream, highlight=False, soft_wrap=True, markup=False)  # names as they are written
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    return console


def clock(seconds: float) -> str:
    """Return a duration as "1:05" or "2:00:00"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
