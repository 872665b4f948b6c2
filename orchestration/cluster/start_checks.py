"""Checks of this machine before Ray starts on it: of what Ray would answer with a traceback, or never."""

from __future__ import annotations

import os
import pwd
import re
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestration.common.errors import Problem, UserError
from orchestration.common.exit_codes import EXIT_RAY_DID_NOT_START
from orchestration.private.ray import upload_sizes

_FOLDER_VARIABLES = ("RAY_TMPDIR", "TMPDIR")
"""Variables from which Ray takes the place of its folder, in its order."""
_SOCKET = "session_2026-01-01_00-00-00_000000_{pid}/sockets/plasma_store"
"""The longest path of a socket in Ray's folder, as Ray 2.60 names it."""
_MAX_SOCKET_BYTES = 107
"""Limit of Linux for the path of a socket."""
_NUM_LARGEST = 3
_CACHES = ("TORCH_EXTENSIONS_DIR", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")
"""Variables that name folders in which PyTorch, DeepSpeed and Triton keep what they compile."""


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


def folder_problems(environment: Mapping[str, str], pid: int) -> Iterator[Problem]:
    """Check the folder of Ray's files. Args: pid: of the process that starts Ray."""
    folder = ray_folder(environment)
    variable = next((name for name in _FOLDER_VARIABLES if name in environment), "")
    if problem := _folder_problem(folder, pid):
        yield Problem(f"{variable}={environment[variable]}" if variable else str(folder), problem)


def cache_problems(environment: Mapping[str, str]) -> Iterator[Problem]:
    """Check the folders of what trainings compile: each would fail, with the path but not the variable."""
    for name in _CACHES:
        if (value := environment.get(name)) and (place := _unwritable(Path(value).absolute())):
            yield Problem(
                f"{name}={value}",
                f"trainings cannot write what they compile there: {place} belongs to {_owner(place)}. Unset it, or "
                "give a folder of your own",
            )


def upload_problems(folder: Path) -> Iterator[Problem]:
    """Check the size of a folder that goes to a cluster with a job; pictures and the like hardly shrink when zipped."""
    sizes, limit = upload_sizes(folder)
    total = sum(sizes.values())
    if total >= limit:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:_NUM_LARGEST]
        yield Problem(
            str(folder),
            f"{total / 2**20:.0f} MiB would go to the cluster with each job, and Ray takes {limit / 2**20:.0f}. Move "
            "away what no task reads, or name it in .rayignore; the largest: "
            + ", ".join(f"{name} ({sizes[name] / 2**20:.0f} MiB)" for name in largest),
        )


def limit_problems(reason: str) -> Iterator[Problem]:
    """Name the limit that is likely to be why Ray did not start. Args: reason: what Ray said."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        yield Problem(
            f"ulimit -v {limit // 1024}",
            "Ray maps more address space than it uses, its store of objects alone 30% of the memory, and did not start "
            f"({reason}): raise the limit (ulimit -v unlimited)",
        )


def _folder_problem(folder: Path, pid: int) -> str:
    if not folder.is_absolute():
        return "Ray keeps its files there: give an absolute path, e.g. RAY_TMPDIR=/tmp"
    excess = len(os.fsencode(folder / _SOCKET.format(pid=pid))) - _MAX_SOCKET_BYTES
    if excess > 0:
        longest = len(os.fsencode(folder.parent)) - excess
        return (
            "the paths of Ray's sockets below it would be longer than the system allows: set RAY_TMPDIR to a folder "
            f"whose path has at most {longest} bytes, e.g. RAY_TMPDIR=/tmp"
        )
    if place := _unwritable(folder):
        return (
            f"Ray cannot write its files there: {place} belongs to {_owner(place)}. Set RAY_TMPDIR to a folder of "
            "your own"
        )
    return ""


def _unwritable(folder: Path) -> Path | None:
    """Return what keeps this user from writing to a folder, or making it: the folder, or one above it."""
    place = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
    return None if place.is_dir() and os.access(place, os.W_OK | os.X_OK) else place


def _owner(place: Path) -> str:
    uid = place.lstat().st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
