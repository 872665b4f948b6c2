"""The tracking server or database of a sweep: its URI, whether it answers, and where its artifacts lie."""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestration.common.errors import UserError
from orchestration.common.redaction import credentials_in, reason_of
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.storage.layout import DATABASE, MLFLOW_ARTIFACTS
from orchestration.storage.library_database import absolute_url, sqlite_file, sqlite_url
from orchestration.storage.store import Store
from orchestration.tracking.limits import MAX_ARTIFACT_LOCATION

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default blocks a call for four minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

VARIABLE = "MLFLOW_TRACKING_URI"
_KEY = "tracking.uri"
_HOST_AND_PORT = re.compile(r"[\w.-]+:\d+(/|$)")
_NAMES = frozenset({"databricks", "databricks-uc", "uc"})
"""Addresses that MLflow knows by name."""


def uri_source(configured: str | None, environment: Mapping[str, str]) -> str:
    """Return the name of what gives the tracking URI, for messages."""
    return VARIABLE if not configured and environment.get(VARIABLE) else _KEY


def resolve_uri(
    configured: str | None, store: Store, environment: Mapping[str, str], *, insecure_http: bool = False
) -> str:
    """Return the absolute tracking URI: the config's, else MLFLOW_TRACKING_URI, else sqlite under a local storage root.

    Raises: UserError if it is no URI, or relative in a Ray job; if it holds credentials, which the plan would publish;
        if it is another machine over http and that was not asked for; if there is none for a remote root.
    """
    given, where = configured or environment.get(VARIABLE), uri_source(configured, environment)
    if not given:
        if not store.is_local:
            remedy = f"give {_KEY}=https://your-server, or set {VARIABLE} (docs/storage.md)"
            raise UserError.of(_KEY, f"MLflow's database cannot lie in {store.root}: {remedy}")
        return sqlite_url(Path(store.path(DATABASE)))
    if credentials := credentials_in(given):
        raise UserError.of(
            where,
            f"holds {credentials}, which would be published with the plan; give it in MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, a database's in its own client settings",
        )
    try:
        parts, folder = urlsplit(given), _folder(given)
    except ValueError as error:
        raise UserError.of(where, f"{given!r} is no address ({error})") from None
    if _HOST_AND_PORT.match(given) or (folder is not None and _looks_like_a_host(given)):
        raise UserError.of(
            where, f"{given!r} names no protocol: write https://{given} for a server, ./{given} for a folder"
        )
    uri = parts.scheme + given[len(parts.scheme) :]  # in lower case, as SQLAlchemy wants it
    place = folder or sqlite_file(uri)
    if JOB_VARIABLE in environment and place is not None and not place.is_absolute():
        raise UserError.of(where, f"{given!r} is relative: inside a Ray job it would be thrown away")
    uri = absolute_url(uri) if folder is None else folder.absolute().as_uri()
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme == "http" and not (insecure_http or _is_this_machine(host)):
        raise UserError.of(
            where,
            f"{uri} sends passwords and numbers to {host} in clear: give an https:// address, or ask for it: "
            "tracking.insecure_http=true",
        )
    return uri


def _folder(given: str) -> Path | None:
    """Return the folder that an address names; None for servers and databases."""
    parts = urlsplit(given)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return None if parts.scheme or given in _NAMES else Path(given)


def _looks_like_a_host(given: str) -> bool:
    """Return whether a name without a scheme is hardly a folder: mlflow.example.org, or 10.0.0.7/mlflow."""
    name = given.partition("/")[0]
    return "." in name.strip(".") and not Path(given).exists()


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ask_server(uri: str) -> float | None:
    """Return the seconds that a server or database takes for an answer; None for a database file that is not there yet.

    Raises: UserError if it cannot be used.
    """
    from mlflow import MlflowClient  # takes seconds, and a plan resolves an address too

    file = sqlite_file(uri)
    if file is not None and not file.exists():
        return None
    begin = time.monotonic()
    try:
        MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001  any failure means that tracking cannot be used
        raise UserError.of("tracking.uri", f"cannot use MLflow at {uri} ({reason_of(error)})") from None
    return time.monotonic() - begin


def artifact_location(uri: str, store: Store) -> str | None:
    """Return the place of artifacts that no server takes: under a local root, else beside the database file, never the
    working directory. None: a server takes them.

    Raises: UserError if there is no such place.
    """
    if urlsplit(uri).scheme in {"http", "https"}:
        return None
    database = sqlite_file(uri)
    if store.is_local:
        location = Path(store.path(MLFLOW_ARTIFACTS)).as_uri()
        if database is None and len(location) > MAX_ARTIFACT_LOCATION:
            raise UserError.of(
                "storage.root",
                f"is too long for MLflow in a database server, whose tables take {MAX_ARTIFACT_LOCATION} characters of "
                f"{location}; give a shorter root, or a tracking server before the database",
            )
        return location
    if database is None:
        raise UserError.of(
            "tracking.uri",
            f"beside the remote root {store.root} a database has no place for artifacts; give a tracking server before "
            "it: mlflow server --backend-store-uri ... --artifacts-destination ...",
        )
    return (database.resolve().parent / MLFLOW_ARTIFACTS).as_uri()
