"""Histories of many runs in one answer of a server, as MLflow's own pages ask for them.

The public API answers for one run at a time. This question is not part of it, so no answer is believed unseen: of a
first run the public API is asked as well, and the newest value of each must be the run's last value.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from typing import Any

import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request_safe

from analysis.tracking.history import Points
from analysis.tracking.run import History, Run

_PATH = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
_MOST_RUNS, _MOST_POINTS = 100, 25_000
"""MLflow's limits of one answer."""
_FIRST_RUNS = 10
"""From which it is seen how many points runs have."""
_FILLED = 0.8
"""Of the most points of an answer: runs that are asked for together may have more than the first ones."""
_LOG = logging.getLogger("analysis")
Found = Iterator[tuple[History, Points]]


def bulk_histories(uri: str, wanted: Sequence[History], one: Callable[[History], Points], pool: Executor) -> Found:
    """Those histories that a server gives for many runs at once, in no order; whoever calls asks for the others.

    Args: wanted: any number of keys. one: asks the public API, of which a sample is compared.
    """
    keys: dict[str, list[History]] = {}
    for history in wanted:
        keys.setdefault(history.key, []).append(history)
    try:
        for histories in keys.values():
            if len(histories) > _FIRST_RUNS:
                yield from _of_key(uri, histories, one, pool)
    except (MlflowException, ValueError, KeyError, TypeError) as error:
        said = str(error).partition("\n")[0][:200]
        _LOG.warning(
            "histories are read one by one, which takes longer: the server does not give many at once: %s", said
        )


def _of_key(uri: str, wanted: Sequence[History], one: Callable[[History], Points], pool: Executor) -> Found:
    first = _believed(uri, wanted[:_FIRST_RUNS])
    if not first:
        return
    history, points = first[0]
    if one(history).to_bytes() != points.to_bytes():
        raise ValueError("it says something else than the API")
    yield from first
    longest = max(len(points) for _, points in first)
    at_once = min(_MOST_RUNS, int(_FILLED * _MOST_POINTS / max(longest, 1)))
    if at_once < 2:
        return
    rest = wanted[_FIRST_RUNS:]
    groups = [rest[start : start + at_once] for start in range(0, len(rest), at_once)]
    for found in pool.map(lambda group: _believed(uri, group), groups):
        yield from found


def _believed(uri: str, wanted: Sequence[History]) -> list[tuple[History, Points]]:
    """Those histories of one answer that are whole: each ends with what its run says that it logged last.

    An answer has at most so many points, and is cut after these, so that histories are missing, and the last one can
    be without the points of a later attempt.
    """
    query = {
        "run_id": [history.run.run_id for history in wanted],
        "metric_key": wanted[0].key,
        "max_results": _MOST_POINTS,
    }
    answer = http_request_safe(get_default_host_creds(uri), _PATH, "GET", params=query).json()["metrics"]
    logged: dict[str, list[dict[str, Any]]] = {}
    for point in answer:
        logged.setdefault(point["run_id"], []).append(point)
    found = [(history, _points(logged.get(history.run.run_id, []))) for history in wanted]
    whole = [(history, points) for history, points in found if _ends_as(history.run, history.key, points)]
    if len(answer) < _MOST_POINTS and len(whole) == len(wanted):
        return whole
    return [(history, points) for history, points in whole if history.run.run_id != answer[-1]["run_id"]]


def _points(logged: list[dict[str, Any]]) -> Points:
    return Points.of_logged((point["step"], point["timestamp"], point["value"]) for point in logged)


def _ends_as(run: Run, key: str, points: Points) -> bool:
    return len(points) > 0 and bool(np.array_equal(points.values[-1], run.metrics.get(key, np.inf), equal_nan=True))
