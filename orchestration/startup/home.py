"""Paths under the home of a user who may have none, as in many containers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestration.common.errors import UserError


def expanded(path: str, where: str) -> Path:
    """Return a path with `~` as the user's home. Raises: UserError at `where` if there is no such home."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise UserError.of(where, f"{path!r}: there is no such home here (HOME); give a whole path") from None


def place_of(environment: Mapping[str, str], variable: str, default: str) -> Path:
    """Return the place that a variable names, else the default one. Raises: UserError naming the variable."""
    return expanded(environment.get(variable) or default, variable)
