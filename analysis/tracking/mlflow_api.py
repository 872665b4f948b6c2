"""Runs over MLflow's public API."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # the default blocks a call for four minutes
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")  # else the server is asked for it at each file

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts, list_artifacts
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException

from analysis.tracking.history import MetricHistory, as_logged
from analysis.tracking.local_artifacts import is_served, store_of
from analysis.tracking.run import Experiment, HistoryRequest, Run, RunFiles

FAILURES = (MlflowException, OSError, ImportError)
"""Errors of a server or database that cannot be read."""
_REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST"})
_PAGE = 1000
_THREADS_TO_A_SERVER = 8


class RefusedError(Exception):
    """A server does not know the search language, or not this far."""


class TrackingClient:
    """The runs behind a tracking URI. Methods raise one of `FAILURES`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)
        self._failed: dict[str, str] = {}
        self._threads = _THREADS_TO_A_SERVER if urlsplit(uri).scheme in {"http", "https"} else 1

    def experiment(self, name: str) -> Experiment | None:
        """Return the experiment of a name; None if there is none."""
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            return None
        deleted = experiment.lifecycle_stage == "deleted"
        return Experiment(experiment.experiment_id, deleted, experiment.creation_time or 0)

    def runs(self, experiment_id: str, *, with_params: bool = False) -> list[Run]:
        """Return all runs of an experiment, deleted ones too, in no order."""
        return self._search(experiment_id, "", ViewType.ALL, with_params=with_params)

    def search(self, experiment_id: str, condition: str, *, deleted: bool = False) -> list[Run]:
        """Return the runs for which a condition in MLflow's search language holds, all if it is empty.

        Args: deleted: search MLflow's bin alone, else everything but it.

        Raises: RefusedError.
        """
        try:
            return self._search(experiment_id, condition, ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY)
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise RefusedError(str(error).partition("\n")[0]) from error
            raise

    def _search(self, experiment_id: str, condition: str, view: int, *, with_params: bool = False) -> list[Run]:
        runs: list[Run] = []
        token = None
        while True:
            with _without_garbage_collection():
                page = self._client.search_runs([experiment_id], condition, view, _PAGE, page_token=token)
                runs.extend(_plain(run, with_params=with_params) for run in page)
            token = page.token
            if not token:
                return runs

    def histories(self, requests: Sequence[HistoryRequest]) -> Iterator[tuple[HistoryRequest, MetricHistory]]:
        """Yield each history that is asked for."""
        with ThreadPoolExecutor(self._threads) as pool:
            yield from zip(requests, pool.map(self._history, requests), strict=True)

    def _history(self, request: HistoryRequest) -> MetricHistory:
        points = self._client.get_metric_history(request.run.run_id, request.key)
        return MetricHistory.of_logged((point.step, point.timestamp, point.value) for point in points)

    def files(self, requests: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, RunFiles]]:
        """Yield for each run those of the named artifacts that it has."""
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
            ThreadPoolExecutor(self._threads) as pool,
        ):
            contents = pool.map(lambda item: self._files(item[0], frozenset(item[1]), Path(scratch)), requests)
            for (run, _), files in zip(requests, contents, strict=True):
                yield run, files

    def _files(self, run: Run, names: frozenset[str], scratch: Path) -> RunFiles:
        """Ask by the place that the run names: by its id, each call would ask for the run first.

        A place outside the tracking server can be anything; if it cannot be read, its run lacks the files alone. A
        store that failed once is not waited for again.
        """
        place, folder, store, served = run.artifact_uri.rstrip("/"), scratch / run.run_id, "", False
        try:
            store, served = store_of(place), is_served(place, self._uri)
            if store in self._failed:
                return RunFiles({}, self._failed[store])
            listed = {entry.path.rpartition("/")[2] for entry in list_artifacts(place, tracking_uri=self._uri)}
            return RunFiles({name: self._file(f"{place}/{name}", folder) for name in sorted(names & listed)})
        except Exception as error:  # each artifact store has its own
            if served and isinstance(error, FAILURES):
                raise
            reason = str(error).partition("\n")[0] or type(error).__name__
            if store:
                self._failed[store] = reason
            return RunFiles({}, reason)

    def _file(self, uri: str, folder: Path) -> bytes:
        return Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=self._uri)).read_bytes()


@contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Halve the time of a page of a database: the API makes a hundred thousand objects, none of them garbage yet."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _plain(run: Any, *, with_params: bool) -> Run:
    """Return the run with interned keys and values, which thousands of runs share."""
    info, data = run.info, run.data
    return Run(
        info.run_id,
        info.run_name or "",
        info.status,
        info.start_time,
        info.end_time,
        info.lifecycle_stage == "deleted",
        info.artifact_uri or "",
        {sys.intern(key): sys.intern(value) for key, value in data.tags.items()},
        {sys.intern(key): as_logged(value) for key, value in data.metrics.items()},
        {sys.intern(key): sys.intern(value) for key, value in data.params.items()} if with_params else {},
    )
