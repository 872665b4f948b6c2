"""Checks of this machine before Ray starts on it: of what Ray would answer with a traceback, or never."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestration.common.errors import Problem, UserError
from orchestration.common.exit_codes import EXIT_RAY_DID_NOT_START

_FOLDER_VARIABLES = ("RAY_TMPDIR", "TMPDIR")
"""Variables from which Ray takes the place of its folder, in its order."""


class RayDidNotStartError(UserError):
    """Ray, or its workers, did not start, for a reason that no check knows."""

    exit_code = EXIT_RAY_DID_NOT_START

    @property
    def headline(self) -> str:
        return "Ray did not start; the same command tries again"


def ray_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder in which Ray keeps its files."""
    return Path(next((environment[name] for name in _FOLDER_VARIABLES if name in environment), "/tmp")) / "ray"  # noqa: S108


def interpreter_problems(executable: str) -> Iterator[Problem]:
    """Check the path of this Python, with which Ray starts its workers."""
    if re.search(r"""[\s'"`\\$&;()|<>]""", executable):
        yield Problem(
            executable,
            "Ray hands this path to a shell as it is, so that its workers would never start: make the virtual "
            "environment in a place without spaces, quotes and other characters of the shell",
        )
