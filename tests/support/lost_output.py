"""Commands whose standard streams are closed, full or read by nobody."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

LOST = ("<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1", "| true", "2>&1 | true")
"""Redirections of a shell: each loses something that a program prints, or its input."""


def run_losing(
    lost: str, command: Sequence[str], cwd: Path, environment: Mapping[str, str] | None = None, seconds: float = 120
) -> tuple[int, str]:
    """Run a command with a redirection. Return (its exit code, what could still be read of it)."""
    script = f"{shlex.join(command)} {lost}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
