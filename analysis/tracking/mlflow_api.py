"""Runs over MLflow's public API, the only way to a server and the measure of any other."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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

from analysis.tracking.bulk_histories import bulk_histories
from analysis.tracking.changed_runs import RefusedError
from analysis.tracking.history import Points, as_logged
from analysis.tracking.run import Experiment, History, Run

FAILURES = (MlflowException, OSError, ImportError)
"""What a server or database that cannot be read raises."""
_REFUSALS = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST"})
_PAGE = 1000
_THREADS_TO_A_SERVER = 8


class Server:
    """The runs behind a tracking URI. Methods raise one of `FAILURES`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)
        self._is_remote = urlsplit(uri).scheme in {"http", "https"}
        self._threads = _THREADS_TO_A_SERVER if self._is_remote else 1

    def experiment(self, name: str) -> Experiment | None:
        """The experiment of a name; None if there is none."""
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return None
        return Experiment(found.experiment_id, found.lifecycle_stage == "deleted", found.creation_time or 0)

    def runs(self, experiment_id: str, *, with_params: bool) -> list[Run]:  # noqa: ARG002  they come all the same
        """See `RunSource`."""
        return self._search(experiment_id, "", ViewType.ALL)

    def search(self, experiment_id: str, condition: str, *, deleted: bool = False) -> list[Run]:
        """See `changed_runs.ServerQuestions`."""
        try:
            return self._search(experiment_id, condition, ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY)
        except MlflowException as error:
            if error.error_code in _REFUSALS:
                raise RefusedError(str(error).partition("\n")[0]) from error
            raise

    def _search(self, experiment_id: str, condition: str, view: int) -> list[Run]:
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs([experiment_id], condition, view, _PAGE, page_token=token)
            found.extend(map(_plain, page))
            token = page.token
            if not token:
                return found

    def newest_runs(self, experiment_id: str, most: int) -> list[Run]:
        """The runs that were started last."""
        return [_plain(run) for run in self._client.search_runs([experiment_id], max_results=most)]

    def histories(self, wanted: Sequence[History]) -> Iterator[tuple[History, Points]]:
        """See `RunSource`."""
        with ThreadPoolExecutor(self._threads) as pool:
            found = set[History]()
            if self._is_remote:
                for history, points in bulk_histories(self._uri, wanted, self._history, pool):
                    found.add(history)
                    yield history, points
            left = [history for history in wanted if history not in found]
            yield from zip(left, pool.map(self._history, left), strict=True)

    def _history(self, wanted: History) -> Points:
        points = self._client.get_metric_history(wanted.run.run_id, wanted.key)
        return Points.of_logged((point.step, point.timestamp, point.value) for point in points)

    def files(self, wanted: Sequence[tuple[Run, Iterable[str]]]) -> Iterator[tuple[Run, dict[str, bytes]]]:
        """See `FileSource`."""
        with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(self._threads) as pool:
            found = pool.map(lambda item: self._files(item[0], frozenset(item[1]), Path(scratch)), wanted)
            for (run, _), files in zip(wanted, found, strict=True):
                yield run, files

    def _files(self, run: Run, names: frozenset[str], scratch: Path) -> dict[str, bytes]:
        """By the place that the run names: by its id, each call would ask for the run first."""
        place, folder = run.artifact_uri.rstrip("/"), scratch / run.run_id
        listed = {entry.path.rpartition("/")[2] for entry in list_artifacts(place, tracking_uri=self._uri)}
        return {name: self._file(f"{place}/{name}", folder) for name in sorted(names & listed)}

    def _file(self, uri: str, folder: Path) -> bytes:
        return Path(download_artifacts(uri, dst_path=str(folder), tracking_uri=self._uri)).read_bytes()


def _plain(run: Any) -> Run:
    """Keys and values are interned: thousands of runs share them."""
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
        {sys.intern(key): sys.intern(value) for key, value in data.params.items()},
    )
