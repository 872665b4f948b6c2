"""The address of a tracking server or database: can it be reached, and how may it be shown."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

from analysis.errors import TrackingUnreachableError
from analysis.plan.model import PublishedPlan

_SQLITE_SIGNATURE = b"SQLite format 3\x00"
_DEFAULT_PORTS = {"http": 80, "https": 443, "postgresql": 5432, "mysql": 3306, "mssql": 1433}
_CONNECT_SECONDS = 10.0


def check_reachable(uri: str) -> None:
    """Look before MLflow does: it would create an absent sqlite file, and retry an absent server for four minutes.

    Raises: TrackingUnreachableError if there is no such database, or nothing listens, or what does not answer in 10
        seconds.
    """
    try:
        parts = urlsplit(uri, allow_fragments=False)
        dialect = parts.scheme.split("+")[0]
        if dialect == "sqlite":
            with Path(unquote(parts.path.removeprefix("/"))).open("rb") as file:
                head = file.read(len(_SQLITE_SIGNATURE))
            if head and head != _SQLITE_SIGNATURE:
                raise unreachable(uri, "not an sqlite database")
        elif parts.hostname and dialect in _DEFAULT_PORTS:
            address = (parts.hostname, parts.port or _DEFAULT_PORTS[dialect])
            with socket.create_connection(address, _CONNECT_SECONDS) as connection:
                if dialect == "http":
                    _await_answer(connection, parts.hostname)
    except OSError as error:
        raise unreachable(uri, error.strerror or str(error)) from error
    except ValueError as error:
        raise unreachable(uri, f"it is no address: {error}") from error


def _await_answer(connection: socket.socket, host: str) -> None:
    """Any answer will do; a server that takes connections and says nothing would hold MLflow up for minutes."""
    connection.settimeout(_CONNECT_SECONDS)
    connection.sendall(f"GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    if not connection.recv(1):
        raise ConnectionError("it closes connections without an answer")


def unreachable(uri: str, why: str) -> TrackingUnreachableError:
    """The error for a tracking address that does not answer."""
    return TrackingUnreachableError(without_password(uri), why)


def without_password(uri: str) -> str:
    """An address that can be shown: its password, if any, replaced by asterisks."""
    password = _parts(uri).password
    return uri if password is None else uri.replace(f":{password}@", ":***@", 1)


def _parts(uri: str) -> SplitResult:
    """Return the parts of an address; a text that is none is a path."""
    try:
        return urlsplit(uri)
    except ValueError:
        return SplitResult("", "", uri, "", "")


def run_url(uri: str, experiment_id: str, run_id: str) -> str:
    """The page of a run; empty where MLflow is a database, whose pages have no address before somebody serves it."""
    parts = _parts(uri)
    if parts.scheme not in {"http", "https"}:
        return ""
    host = parts.netloc.rpartition("@")[2]  # a user's name and password are not for a link
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}"


SERVED_AT = "http://127.0.0.1:5000"
"""Address at which `mlflow ui` serves a database."""


def runs_url(uri: str, experiment_id: str, wanted: str = "") -> str:
    """The page with the runs of an experiment, in MLflow's view for model training, which it does not open by itself.

    Args: experiment_id: "" if nobody knows. wanted: filter in MLflow's language; "": all runs.
    Returns: a link; where MLflow is a database, to the server that `ui_command` starts; "" without an experiment.
    """
    if not experiment_id:
        return ""
    parts = _parts(uri)
    host = parts.netloc.rpartition("@")[2]
    is_server = parts.scheme in {"http", "https"}
    base = f"{parts.scheme}://{host}{parts.path.rstrip('/')}" if is_server else SERVED_AT
    query = {"workflowType": "machine_learning"} | ({"searchFilter": wanted} if wanted else {})
    return f"{base}/#/experiments/{experiment_id}/runs?{urlencode(query, quote_via=quote)}"


def last_evaluations(plan: PublishedPlan) -> str:
    """The filter for the last evaluation of each row; that for all evaluations where rows end at different steps."""
    steps = {trial.evaluations[-1][0] for trial in plan.trials if trial.evaluations}
    wanted = "tags.`dfm.kind` = 'evaluate'"
    return f"{wanted} and params.step = '{steps.pop()}'" if len(steps) == 1 else wanted


def ui_command(uri: str) -> str | None:
    """The shell command that shows a database in a browser; None for a server, which is opened as it is."""
    if _parts(uri).scheme in {"http", "https"}:
        return None
    return f"mlflow ui --backend-store-uri {shlex.quote(without_password(uri))}"
