"""MLflow's runs as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

DIGEST_TAG, KIND_TAG, STATUS_TAG = "dfm.digest", "dfm.kind", "dfm.status"
_ENDED = frozenset({"FINISHED", "FAILED", "KILLED"})


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """One run, without its histories and files."""

    run_id: str
    name: str
    status: str
    """MLflow's own: RUNNING, SCHEDULED, FINISHED, FAILED or KILLED."""
    start_time: int | None
    end_time: int | None
    """ms since 1970; None while it runs."""
    deleted: bool
    """In MLflow's bin, from which it can be restored."""
    artifact_uri: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    """The last value of each."""
    params: Mapping[str, str]
    """Empty if they were not asked for."""

    @property
    def ended(self) -> bool:
        """Return whether nothing more is logged to it, unless a later attempt takes it up, which changes its end."""
        return self.status in _ENDED and self.end_time is not None

    @property
    def digest(self) -> str:
        """Digest of its task, as its tag says; "" if it has none."""
        return self.tags.get(DIGEST_TAG, "")


class RunFiles(NamedTuple):
    """Files of a run by name, as far as it has them."""

    found: Mapping[str, bytes]
    problem: str = ""
    """Why the place of its artifacts cannot be read; "" if it can."""


class HistoryRequest(NamedTuple):
    """A metric of a run whose history is wanted."""

    run: Run
    key: str


class Experiment(NamedTuple):
    """An experiment by its id."""

    id: str
    deleted: bool
    created: int
    """ms since 1970: ids begin anew on a server that was set up anew."""
