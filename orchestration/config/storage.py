"""The section `storage:` of a sweep."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Annotated

from annotated_types import Ge, Gt

from orchestration.common.urls import is_same_service
from orchestration.storage.retry import RetryPolicy

PLANNING_SECONDS = 15.0
"""Time that a storage has to answer while a sweep is planned, where `call_seconds` and `retry_seconds` are longer."""


@dataclass(frozen=True)
class StorageConfig:
    """The place where all artifacts are stored, and how long its answers are waited for."""

    root: str = "runs"
    """A directory or an fsspec URL."""
    options: dict[str, str] = field(default_factory=dict, repr=False)
    """Passed to fsspec, e.g. endpoint_url."""
    call_seconds: Annotated[float, Gt(0.0)] = 60.0
    """Time after which an unanswered call to a URL's storage is repeated; a call that moves a file has a second more
    for each MB."""
    retry_seconds: Annotated[float, Ge(0.0)] = 600.0
    """Time for which failed or unanswered calls to a URL's storage are repeated before their task fails."""

    def at_most(self, seconds: float) -> StorageConfig:
        """Return the same place with at most so many seconds for an answer, as somebody waits for it."""
        call_seconds, retry_seconds = min(self.call_seconds, seconds), min(self.retry_seconds, seconds)
        return replace(self, call_seconds=call_seconds, retry_seconds=retry_seconds)

    @property
    def retry_policy(self) -> RetryPolicy:
        return RetryPolicy(self.call_seconds, self.retry_seconds)

    def options_for(self, url: str) -> dict[str, str]:
        """Return the options for a URL of the storage's service, none for others: they hold its own keys."""
        return self.options if is_same_service(url, self.root) else {}
