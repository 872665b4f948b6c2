"""The address of the database of studies. Light: planning resolves it, too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from orchestration.common.errors import UserError
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.storage.layout import SEARCHES
from orchestration.storage.library_database import absolute_url, sqlite_file, sqlite_url
from orchestration.storage.store import Store

STUDIES_KEY = "search_storage"


def search_storage(configured: str | None, store: Store, environment: Mapping[str, str]) -> str:
    """Return the URL of the database: the config's, else sqlite under a local storage root.

    Raises: UserError if there is none for a remote root, or it would be thrown away with a job's working directory.
    """
    if configured is None:
        if not store.is_local:
            raise UserError.of(
                STUDIES_KEY,
                f"give a database, e.g. postgresql://host/name: {store.root} cannot hold that of the search's trials",
            )
        return sqlite_url(Path(store.path(SEARCHES)))
    file = sqlite_file(configured)
    if JOB_VARIABLE in environment and file is not None and not file.is_absolute():
        raise UserError.of(STUDIES_KEY, f"{configured!r} is relative: inside a Ray job it would be thrown away")
    return absolute_url(configured)
