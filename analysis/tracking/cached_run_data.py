"""Histories and files of runs: from the cache where a run ended before it was read, else from MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from analysis.tracking.cache import Cache, Item
from analysis.tracking.history import MetricHistory
from analysis.tracking.local_artifacts import local_files
from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import STATUS_TAG, HistoryRequest, Run, RunFiles

_ASKED = "asked"
"""Name of the item that lists the files a run was asked for: those that are not cached do not exist."""


class RunData:
    """Histories and files of an experiment's runs."""

    def __init__(self, client: TrackingClient, cache: Cache) -> None:
        self._client, self._cache = client, cache

    def _find(self, run: Run, name: str, key: str = "") -> bytes | None:
        return self._cache.find(run.run_id, name, _state(run, key)) if run.ended else None

    def _add(self, run: Run, name: str, data: bytes, key: str = "") -> None:
        if run.ended:
            self._cache.add(Item(run.run_id, name, _state(run, key), data))

    def histories(self, requests: Sequence[HistoryRequest]) -> Iterator[tuple[HistoryRequest, MetricHistory]]:
        """Yield each history that is asked for, in no order."""
        missing = []
        for request in requests:
            data = self._find(request.run, f"curve/{request.key}", request.key)
            if data is None:
                missing.append(request)
            else:
                yield request, MetricHistory.from_bytes(data)
        for request, history in self._client.histories(missing):
            self._add(request.run, f"curve/{request.key}", history.to_bytes(), request.key)
            yield request, history

    def files(self, requests: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, RunFiles]]:
        """Yield for each run those of the named files that it has, in no order."""
        missing = []
        for run, names in requests:
            files = local_files(run, names)
            if files is not None:
                yield run, files
            elif set(names) <= set((self._find(run, _ASKED) or b"").decode().split("\n")):
                cached = {name: self._find(run, f"file/{name}") for name in names}
                yield run, RunFiles({name: data for name, data in cached.items() if data is not None})
            else:
                missing.append((run, frozenset(names)))
        asked = {run.run_id: names for run, names in missing}
        for run, files in self._client.files(missing):
            for name, data in files.found.items():
                self._add(run, f"file/{name}", data)
            if not files.problem:
                self._add(run, _ASKED, "\n".join(sorted(asked[run.run_id])).encode())
            yield run, files


def _state(run: Run, key: str) -> str:
    """Return a text that changes when a later attempt takes up a run that ended."""
    value = repr(run.metrics.get(key)) if key else ""
    return f"{run.status} {run.end_time} {run.tags.get(STATUS_TAG)} {value}"
