"""The database of studies: its URL, its connection, and the error where it cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from orchestration.common.errors import UserError
from orchestration.common.redaction import without_credentials
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.storage.layout import SEARCHES
from orchestration.storage.library_database import ensure_whole, sqlite_file
from orchestration.storage.store import Store

_KEY = "search_storage"
_SQLITE_WAIT_SECONDS = 60


class StudyUnavailableError(Exception):
    """The storage of a search cannot be used now."""


class StudyGoneError(StudyUnavailableError):
    """The study of a search is there no more, and will not come back."""


class StudyDatabase:
    """An open database of studies; one serves a whole sweep, since opening takes longer than any query."""

    def __init__(self, uri: str) -> None:
        """Raises: UserError if it cannot be used."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.uri = uri
        try:
            file = sqlite_file(uri)
            if file is not None:
                ensure_whole(file, _create)
            self.storage = RDBStorage(uri, engine_kwargs=_engine_options(uri))
        except Exception as error:  # noqa: BLE001  any database, any reason: it cannot be used
            raise unusable(uri, error) from None


def _create(path: Path) -> None:
    RDBStorage(f"sqlite:///{path}").engine.dispose()


def search_storage(configured: str | None, store: Store, environment: Mapping[str, str]) -> str:
    """Return the URL of the database: the config's, else sqlite under a local storage root.

    Raises: UserError if there is none for a remote root, or it would be thrown away with a job's working directory.
    """
    if configured is None:
        if not store.is_local:
            raise UserError.of(_KEY, f"give a database, e.g. postgresql://host/name: {store.root} cannot hold one")
        return f"sqlite:///{store.path(SEARCHES)}"
    if JOB_VARIABLE in environment and configured.startswith("sqlite:///") and not configured.startswith("sqlite:////"):
        raise UserError.of(_KEY, f"{configured!r} is relative: inside a Ray job it would be thrown away")
    return configured


def unusable(uri: str, error: Exception) -> UserError:
    """Return the error for a database that cannot be used."""
    return UserError.of(_KEY, f"cannot use {without_credentials(uri)} ({reason_text(error)})")


def _engine_options(uri: str) -> dict[str, Any]:
    if uri.startswith("sqlite:"):
        return {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}}
    return {"pool_pre_ping": True}  # a connection that the server dropped meanwhile is made anew


def reason_text(error: Exception) -> str:
    """Return an error's class and the start of its text, without credentials."""
    text = without_credentials(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:300]}"
