"""Where searches keep their trials: a database that the user names, or one beside a local store."""

from __future__ import annotations

from collections.abc import Mapping

from orchestration.layout import SEARCHES
from orchestration.problems import UserError
from orchestration.storage import Store
from orchestration.storage_root import JOB_VARIABLE

_KEY = "search_storage"


def search_storage(configured: str | None, store: Store, environment: Mapping[str, str]) -> str:
    """URL of the database: the config's, else sqlite under a local storage root.

    Raises: UserError if there is none for a remote root, or it would be thrown away with a job's working directory.
    """
    if configured is None:
        if not store.is_local:
            raise UserError.of(_KEY, f"give a database, e.g. postgresql://host/name: {store.root} cannot hold one")
        return f"sqlite:///{store.path(SEARCHES)}"
    if JOB_VARIABLE in environment and configured.startswith("sqlite:///") and not configured.startswith("sqlite:////"):
        raise UserError.of(_KEY, f"{configured!r} is relative: inside a Ray job it would be thrown away")
    return configured
