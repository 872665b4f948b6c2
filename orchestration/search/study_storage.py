"""The database of studies: its connection, and the error where it cannot be used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage

from orchestration.common.errors import UserError, cause_of
from orchestration.common.redaction import reason_of, without_credentials
from orchestration.search.study_address import STUDIES_KEY
from orchestration.storage.library_database import ensure_whole, sqlite_file, sqlite_url

_SQLITE_WAIT_SECONDS = 5
"""A sweep holds its database for milliseconds; whoever holds it longer has to be named soon."""
_MOVED = "SQLITE_READONLY_DBMOVED"
_ANEW = "the search begins anew then, and finds by their digests the results that there are"
_ADVICE = {
    "SQLITE_BUSY": "; another program holds it: end that",
    "SQLITE_CORRUPT": f"; move it away: {_ANEW}",
    "SQLITE_NOTADB": f"; move it away: {_ANEW}",
}


class StudyUnavailableError(Exception):
    """The storage of a search cannot be used now."""


class StudyGoneError(StudyUnavailableError):
    """The study of a search is there no more, and will not come back: the search ends."""


class SearcherFailedError(StudyGoneError):
    """A searcher of a library raised an error: nobody can propose any more."""


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
            raise UserError.of(STUDIES_KEY, f"cannot use {unavailable(uri, error)}") from None


def _create(path: Path) -> None:
    RDBStorage(sqlite_url(path)).engine.dispose()


def unavailable(uri: str, error: Exception) -> StudyUnavailableError:
    """Return the error that says why a database cannot be used, and what to do."""
    sqlite_name = getattr(cause_of(error), "sqlite_errorname", "")
    if sqlite_name == _MOVED:
        return StudyGoneError(f"{uri} was removed or replaced while it was used; submit the sweep again: {_ANEW}")
    return StudyUnavailableError(f"{without_credentials(uri)} ({reason_of(error)}){_ADVICE.get(sqlite_name, '')}")


def _engine_options(uri: str) -> dict[str, Any]:
    if sqlite_file(uri) is not None:
        return {"connect_args": {"timeout": _SQLITE_WAIT_SECONDS}}
    return {"pool_pre_ping": True}  # a connection that the server dropped meanwhile is made anew
