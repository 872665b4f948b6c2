"""The tracking server or database of a sweep: its URI, whether it answers, and where its artifacts lie."""

from __future__ import annotations

import ipaddress
import os
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from orchestration.common.errors import UserError
from orchestration.common.redaction import credentials_in, reason_of
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.storage.layout import DATABASE, MLFLOW_ARTIFACTS
from orchestration.storage.library_database import sqlite_file
from orchestration.storage.store import Store
from orchestration.tracking.limits import MAX_ARTIFACT_LOCATION

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default blocks a call for four minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow import MlflowClient


def resolve_uri(
    configured: str | None, store: Store, environment: Mapping[str, str], *, insecure_http: bool = False
) -> str:
    """Return the tracking URI: the config's, else MLFLOW_TRACKING_URI, else sqlite under a local storage root.

    Raises: UserError if it holds credentials (it is published with the plan), if it is a server on another machine over
        http and that was not asked for, or if there is none for a remote root.
    """
    uri = configured or environment.get("MLFLOW_TRACKING_URI")
    if uri:
        if JOB_VARIABLE in environment and uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
            raise UserError.of("tracking.uri", f"{uri!r} is relative: inside a Ray job it would be thrown away")
        if credentials := credentials_in(uri):
            raise UserError.of(
                "tracking.uri",
                f"holds {credentials}, which would be published with the plan; give it in MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, a database's in its own client settings",
            )
        host = urlsplit(uri).hostname or ""
        if uri.startswith("http://") and not (insecure_http or _is_this_machine(host)):
            raise UserError.of(
                "tracking.uri",
                f"{uri} sends passwords and numbers to {host} in clear: give an https:// address, or ask for it: "
                "tracking.insecure_http=true",
            )
        return uri
    if not store.is_local:
        raise UserError.of("tracking.uri", f"give a tracking server: {store.root} cannot hold a database")
    return f"sqlite:///{store.path(DATABASE)}"


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ask_server(uri: str) -> float | None:
    """Return the seconds that a server or database takes for an answer; None for a database file that is not there yet.

    Raises: UserError if it cannot be used.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
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
    if store.is_local:
        location = store.path(MLFLOW_ARTIFACTS)
        if sqlite_file(uri) is None and len(location) > MAX_ARTIFACT_LOCATION:
            raise UserError.of(
                "storage.root",
                f"is too long for MLflow in a database server, whose tables take {MAX_ARTIFACT_LOCATION} characters of "
                f"{location}; give a shorter root, or a tracking server before the database",
            )
        return location
    if not uri.startswith("sqlite:"):
        raise UserError.of(
            "tracking.uri",
            f"beside the remote root {store.root} a database has no place for artifacts; give a tracking server before "
            "it: mlflow server --backend-store-uri ... --artifacts-destination ...",
        )
    database = Path(uri.removeprefix("sqlite:///"))
    return str(database.resolve().parent / MLFLOW_ARTIFACTS)
