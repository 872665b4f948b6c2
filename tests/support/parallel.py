"""Distribution of the tests over processes: by file, and files that need one long sweep stay together."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

_ROOT = Path(__file__).parents[2]
_SHARED_SWEEP = "undisturbed"
"""Fixture of minutes, made once in each process that has a test of it."""


class SharedSweepScheduling(LoadFileScheduling):
    """As `--dist loadfile`, but all files with tests of the shared sweep run in one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return _SHARED_SWEEP if _needs_shared_sweep(file) else file


@cache
def _needs_shared_sweep(file: str) -> bool:
    return file.startswith("tests/e2e/") and f"{_SHARED_SWEEP}:" in (_ROOT / file).read_text()
