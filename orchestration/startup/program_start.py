"""Start and end of a program: what a shell may hand down, and exit handlers, that libraries cannot live with."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from analysis.contract.proxies import bypass_proxies
from orchestration.common.errors import UserError, tell_mistakes
from orchestration.common.exit_codes import EXIT_CLUSTER_LOST, EXIT_INTERRUPTED, EXIT_USER_ERROR
from orchestration.common.redaction import guard_output
from orchestration.startup.full_precision import ONEDNN_STRICT

_AT_ONCE = (EXIT_USER_ERROR, EXIT_INTERRUPTED, EXIT_CLUSTER_LOST)
"""Exit codes after which exit handlers have nothing to do but harm: they wait for threads that ask a silent name server
for a minute, and Ray's call a lost cluster and end the process with a signal."""
_WARNINGS = "PYTHONWARNINGS"
_OF_RAY = (
    "RAY_TRAIN_V2_ENABLED",  # the trainings are written for version 2, Ray's default
    "TUNE_RESULT_DIR",  # Tune refuses to start with what it does not read any more
    "RAY_AIR_LOCAL_CACHE_DIR",
)


def prepare_program() -> None:
    """Guard the output and take out of the environment what would break libraries, here and in what is started.

    Programs call it before anything else is imported: Ray reads its variables, and loggers their stream, once.
    Ends the process with code 2 if its working directory is gone: nearly every library asks for it.
    """
    guard_output()
    reach_directly()
    if "error" in os.environ.get(_WARNINGS, ""):  # MLflow's and SQLAlchemy's warnings of their own would end them
        del os.environ[_WARNINGS]
        warnings.filters[:] = [entry for entry in warnings.filters if entry[0] != "error"]  # type: ignore[index]
    for name in _OF_RAY:
        os.environ.pop(name, None)
    os.environ.update(ONEDNN_STRICT)
    try:
        Path.cwd()
    except FileNotFoundError:
        gone = UserError.of("working directory", "it no longer exists; run the command again in one that does")
        sys.exit(tell_mistakes(gone))


def reach_directly(*nodes: str) -> None:
    """Keep what this process sends to loopback and to these hosts off any proxy."""
    bypass_proxies(os.environ, *nodes)


def end_program(code: int) -> NoReturn:
    """End the process with an exit code."""
    if code in _AT_ONCE:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
