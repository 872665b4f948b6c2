"""MLflow's runs as plain data, and what is asked of the place they are read from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from analysis.tracking.history import Points

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

    @property
    def ended(self) -> bool:
        """Whether nothing more is logged to it, unless a later attempt takes it up, which changes its end."""
        return self.status in _ENDED and self.end_time is not None

    @property
    def digest(self) -> str:
        """Of its task, as its tag says; "" if it has none."""
        return self.tags.get(DIGEST_TAG, "")


class History(NamedTuple):
    """Which history is asked for."""

    run: Run
    key: str


class Experiment(NamedTuple):
    """An experiment by its id."""

    id: str
    deleted: bool
    created: int
    """ms since 1970: ids begin anew on a server that was set up anew."""


class RunSource(Protocol):
    """Where runs are read: a tracking server, or the database behind one."""

    def runs(self, experiment_id: str, *, with_params: bool) -> list[Run]:
        """All runs of an experiment, deleted ones too, in no order.

        Args: with_params: False: whoever calls needs none, so that they may be left out; most of a run is params.
        """
        ...

    def histories(self, wanted: Sequence[History]) -> Iterator[tuple[History, Points]]:
        """Each history that is asked for, in no order."""
        ...


class FileSource(Protocol):
    """Where the artifacts of runs are read."""

    def files(self, wanted: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, dict[str, bytes]]]:
        """For each run those of the named files that it has."""
        ...
