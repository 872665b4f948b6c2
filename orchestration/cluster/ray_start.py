"""The start of Ray: a cluster on this machine, and the first answer of any cluster's workers.

Ray starts again and again a worker that does not come up, without a word, and a driver would wait for it for ever.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import ray

from orchestration.cluster.authentication import use_no_tokens, use_tokens
from orchestration.cluster.start_checks import (
    RayDidNotStartError,
    cache_problems,
    folder_problems,
    interpreter_problems,
    limit_problems,
    ray_folder,
)
from orchestration.cluster.token_file import LOOPBACK_VARIABLE
from orchestration.common.errors import UserError
from orchestration.common.project import ROOT
from orchestration.common.redaction import reason_of, shown
from orchestration.control.end_signals import EndSignals
from orchestration.private.ray import listen_on_loopback, start_workers_with_this_python
from orchestration.startup.other_launchers import drop_other_launchers

QUIET = {"log_to_driver": False, "logging_level": "ERROR"}
_LEAST_CPUS = 2
"""Least number on a cluster of this machine, so that the quickstart's two workers fit on one core too."""
_TRIES = 3
_ON_DEMAND = {"RAY_prestart_worker_first_driver": "0", "RAY_enable_worker_prestart": "0"}
"""Variables that make Ray start workers when they are asked for. Else `ray.init` itself waits for the first, without a
limit and deaf to signals, and they lack the driver's PYTHONPATH, so that they are of no use."""
_PATIENT_SECONDS = 20.0
"""Time after which it is said that an answer is waited for."""
_LOGS = ("raylet.err", "gcs_server.err", "raylet.out")
"""Logs of Ray, the most telling first. What a worker says that does not come up is in the first."""
_NUM_LINES = 12


def start_here(*, insecure: bool) -> Any:
    """Start a cluster on this machine that listens on loopback alone. Return Ray's context.

    Raises: UserError if this machine keeps it from starting. RayDidNotStartError after some tries.
    """
    folders = (*folder_problems(os.environ, os.getpid()), *cache_problems(os.environ))
    if problems := [*interpreter_problems(sys.executable), *folders]:
        raise UserError(problems)
    use_no_tokens() if insecure else use_tokens(may_make_one=True)
    drop_other_launchers(os.environ)
    os.environ.update({LOOPBACK_VARIABLE: "0", **_ON_DEMAND})  # the processes that Ray starts inherit all this
    listen_on_loopback()
    start_workers_with_this_python()
    for tries_left in reversed(range(_TRIES)):
        try:
            return ray.init(
                address="local",
                num_cpus=_LEAST_CPUS if os.cpu_count() == 1 else None,  # else Ray counts, container limits included
                include_dashboard=False,  # whose port nobody knows: 5 s of a core, and a tenth of one from then on
                runtime_env={"env_vars": {"PYTHONPATH": _python_path()}},
                **QUIET,
            )
        except Exception as error:  # noqa: BLE001  Ray raises Exception itself, and whatever its libraries do
            reason = reason_of(error)
        ray.shutdown()
        if tries_left:
            print(f"Ray did not start ({reason}); it is tried again.", flush=True)
    raise _did_not_start(reason)


def await_workers(limit_seconds: float, signals: EndSignals) -> None:
    """Return when the cluster that this process is connected to has started a worker, or a signal asks to end.

    Raises: RayDidNotStartError if none has answered in time, or Ray says why none will.
    """
    answer, begin = ray.remote(_nothing).options(num_cpus=0).remote(), time.monotonic()
    is_said = False
    while not ray.wait([answer], timeout=1.0)[0]:
        if signals.early_exit is not None:
            return
        waited = time.monotonic() - begin
        if waited > limit_seconds:
            raise _did_not_start(f"none of its workers has answered in {limit_seconds:g} s")
        if waited > _PATIENT_SECONDS and not is_said:
            is_said = True
            print(f"Waiting for Ray's workers, {limit_seconds:g} s at most.", flush=True)
    try:
        ray.get(answer)
    except ray.exceptions.RayError as error:
        raise _did_not_start(f"its workers do not start: {reason_of(error)}") from None


def _did_not_start(reason: str) -> UserError:
    """Return the error that ends this process: a limit of its user's, or Ray's own last words."""
    if problems := list(limit_problems(reason)):
        return UserError(problems)
    return RayDidNotStartError.of("Ray", f"{reason}{_last_words()}")


def _nothing() -> None:
    """Show that a worker runs."""


def _python_path() -> str:
    """Return the user's PYTHONPATH with the project in front; absolute, since workers have folders of their own."""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([str(ROOT), *(str(Path(entry).absolute()) for entry in given if entry)])


def _last_words() -> str:
    """Return the end of the log of a cluster that this process started, to follow a reason; "" if it has none."""
    sessions = sorted(ray_folder(os.environ).glob(f"session_*_{os.getpid()}"))
    logs = [path for name in _LOGS for session in sessions[-1:] if (path := session / "logs" / name).is_file()]
    for log in logs:
        if lines := log.read_text(encoding="utf-8", errors="replace").splitlines()[-_NUM_LINES:]:
            return "\n".join([f". The end of {log}:", *(f"    {shown(line)}" for line in lines)])
    return ""
