"""Histories and files of runs: from the cache where a run ended before it was read, else from MLflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from analysis.tracking.cache import CacheSession, Item
from analysis.tracking.history import MetricHistory
from analysis.tracking.local_artifacts import local_files, local_folder
from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import STATUS_TAG, HistoryRequest, Run, RunFiles

_ASKED = "asked"
"""Name of the item that lists the files a run was asked for: those that are not cached do not exist."""


class RunData:
    """Histories and files of an experiment's runs."""

    def __init__(self, client: TrackingClient, cache: CacheSession) -> None:
        self._client, self._cache = client, cache

    def _find(self, run: Run, name: str, state: str) -> bytes | None:
        return self._cache.find(run.run_id, name, state) if run.ended else None

    def _add(self, run: Run, name: str, state: str, data: bytes) -> None:
        if run.ended:
            self._cache.add(Item(run.run_id, name, state, data))

    def histories(self, requests: Sequence[HistoryRequest]) -> Iterator[tuple[HistoryRequest, MetricHistory]]:
        """Yield each history that is asked for, in no order."""
        missing = []
        for request in requests:
            data = self._find(request.run, f"curve/{request.key}", _state(request.run, request.key))
            if data is None:
                missing.append(request)
            else:
                yield request, MetricHistory.from_bytes(data)
        for request, history in self._client.histories(missing):
            state = _state(request.run, request.key)
            self._add(request.run, f"curve/{request.key}", state, history.to_bytes())
            yield request, history

    def files(self, requests: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, RunFiles]]:
        """Yield for each run those of the named files that it has, in no order."""
        missing = []
        for run, names in requests:
            state, here = _state(run), _files_here(run, names)
            if here is not None:
                yield run, here
            elif set(names) <= set((self._find(run, _ASKED, state) or b"").decode().split("\n")):
                cached = {name: self._find(run, f"file/{name}", state) for name in names}
                yield run, RunFiles({name: data for name, data in cached.items() if data is not None})
            else:
                missing.append((run, frozenset(names)))
        asked = {run.run_id: names for run, names in missing}
        for run, files in self._client.files(missing):
            for name, data in files.found.items():
                self._add(run, f"file/{name}", _state(run), data)
            if not files.problem:
                self._add(run, _ASKED, _state(run), "\n".join(sorted(asked[run.run_id])).encode())
            yield run, files


def _files_here(run: Run, names: Iterable[str]) -> RunFiles | None:
    """Return those of the named files that lie on this machine; None if its artifacts do not."""
    try:
        folder = local_folder(run)
        return RunFiles(local_files(folder, names)) if folder is not None and _is_here(folder) else None
    except (OSError, ValueError) as error:
        return RunFiles({}, str(error))


def _is_here(folder: Path) -> bool:
    """Return whether runs of an experiment have their artifacts on this machine; a run without any has no folder."""
    return folder.is_dir() or (len(folder.parents) > 1 and folder.parents[1].is_dir())


def _state(run: Run, key: str = "") -> str:
    """Return a text that changes when a later attempt takes up a run that ended."""
    value = repr(run.metrics.get(key)) if key else ""
    return f"{run.status} {run.end_time} {run.tags.get(STATUS_TAG)} {value}"
