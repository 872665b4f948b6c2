"""Checks of access: Ray's services and the tracking server are called as a stranger would."""

from __future__ import annotations

import os
import re
import shlex
import stat
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

from orchestration.cluster.authentication import is_refused
from orchestration.cluster.token_file import TOKEN_VARIABLE, token_file
from orchestration.common.project import ROOT
from orchestration.diagnosis.check_report import CheckResult

_SECONDS = 10
_LEAST_MLFLOW = (3, 11)
"""Older ones have known holes that let strangers read files and run jobs."""
MAKE_TOKEN = f"cd {shlex.quote(str(ROOT))} && {shlex.quote(sys.executable)} -m orchestration.auth_token"
_START_WITH_TOKEN = "start the cluster with RAY_AUTH_MODE=token (docs/running.md)"  # noqa: S105  advice


def ray_rows(control_address: str, dashboard: str, num_nodes: int) -> Iterator[CheckResult]:
    """Check Ray and the token. Args: control_address: host:port. dashboard: host:port, "" if there is none."""
    refused = is_refused(control_address)
    behaviour = "refuses calls without the token" if refused else "takes calls from anybody who reaches it"
    yield CheckResult(
        "access", "control service", "ok" if refused else "FAILED", behaviour, "" if refused else _START_WITH_TOKEN
    )
    if dashboard:
        yield _jobs_row(f"http://{dashboard}/api/jobs/")
    yield _token_row()
    if num_nodes > 1 and os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        advice = "keep the nodes in a network of their own, or set RAY_USE_TLS=1 with certificates"
        yield CheckResult("access", "between nodes", "note", "the token and all data go in clear", advice)


def _jobs_row(url: str) -> CheckResult:
    status = _status_for_a_stranger(url)
    if status is None:
        return CheckResult("access", "jobs API", "ok", "cannot be reached from here")
    if status in (401, 403):
        return CheckResult("access", "jobs API", "ok", "refuses calls without the token")
    return CheckResult("access", "jobs API", "FAILED", f"takes calls from anybody (HTTP {status})", _START_WITH_TOKEN)


def _token_row() -> CheckResult:
    if os.environ.get(TOKEN_VARIABLE):
        advice = "programs that print their environment print it: better in ~/.ray/auth_token"
        return CheckResult("access", "token", "note", f"in {TOKEN_VARIABLE}", advice)
    path = token_file(os.environ)
    if not path.is_file():
        return CheckResult("access", "token", "FAILED", "there is none", MAKE_TOKEN)
    mode = stat.S_IMODE(path.stat().st_mode)
    readable = bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
    advice = f"chmod 600 {path}" if readable else ""
    return CheckResult("access", "token", "FAILED" if readable else "ok", f"{path}, mode {mode:04o}", advice)


def tracking_rows(uri: str) -> Iterator[CheckResult]:
    """Check version and access of a tracking server; other addresses give no row, since a database has an owner."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https"):
        return
    version = _text(f"{uri.rstrip('/')}/version")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers and numbers < _LEAST_MLFLOW:
        least = ".".join(map(str, _LEAST_MLFLOW))
        yield CheckResult(
            "tracking", "version", "FAILED", f"MLflow {version}", f"has known holes: install {least} or newer"
        )
    elif numbers:
        yield CheckResult("tracking", "version", "ok", f"MLflow {version}")
    status = _status_for_a_stranger(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1")
    if status in (401, 403):
        yield CheckResult("tracking", "access", "ok", "asks for credentials")
    elif status is not None:
        advice = (
            "keep it on loopback or in a network of its own, or start it with --app-name basic-auth (docs/security.md)"
        )
        yield CheckResult("tracking", "access", "note", "takes calls from anybody who reaches it", advice)


def _status_for_a_stranger(url: str) -> int | None:
    """Return the HTTP status of a call without credentials; None if nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  an address that is checked before
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def _text(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310  as above
            return str(answer.read(100).decode(errors="replace")).strip()
    except OSError:
        return ""
