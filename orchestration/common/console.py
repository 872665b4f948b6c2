"""The console that commands print to, and clock times in words."""

from __future__ import annotations

from rich.console import Console

_LOG_WIDTH = 150


def make_console() -> Console:
    """Return a console as wide as the terminal, or wide enough for a table in a log."""
    console = Console(highlight=False, soft_wrap=True, markup=False)  # names are shown as they are written
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, markup=False, width=_LOG_WIDTH)


def clock(seconds: float) -> str:
    """Return a duration as "1:05" or "2:00:00"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
