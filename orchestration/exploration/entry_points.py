"""Searchers and callbacks that installed packages add. A sweep file names them; it never holds a path to code."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any


def load_entry_point(group: str, name: str) -> Any:
    """Return what an installed package offers under a name. Raises: whatever its import raises."""
    return next(iter(entry_points(group=group, name=name))).load()
