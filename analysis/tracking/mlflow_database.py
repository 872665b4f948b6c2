"""Runs read from MLflow's database itself, by SELECT alone: a tenth of the API's time for 10,000 runs.

The tables are MLflow's own business, so nothing read here is believed unseen: `reading` lays a sample beside what the
public API says, and where they differ, or a table or column is another, everything is read through the API.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, bindparam, column, create_engine, select, table
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from analysis.tracking.history import Points, as_logged
from analysis.tracking.run import History, Run

FAILURES = (SQLAlchemyError, sqlite3.Error, ImportError, ValueError)
"""What other tables than expected, or a lost connection, raise."""
PROVEN = frozenset({"sqlite", "postgresql"})
_RUNS_AT_ONCE = 500
"""Short transactions: a reader of an sqlite file must not keep a sweep from writing to it."""


def _table(name: str, *columns: str) -> Any:
    return table(name, *map(column, columns))


_RUN_COLUMNS = (
    "run_uuid", "name", "status", "start_time", "end_time", "lifecycle_stage", "artifact_uri", "experiment_id"
)  # fmt: skip
_RUNS = _table("runs", *_RUN_COLUMNS)
_TAGS = _table("tags", "run_uuid", "key", "value")
_PARAMS = _table("params", "run_uuid", "key", "value")
_LATEST = _table("latest_metrics", "run_uuid", "key", "value", "is_nan")
_METRICS = _table("metrics", "run_uuid", "key", "step", "timestamp", "value", "is_nan")


class Database:
    """A `RunSource` over the database of a tracking URI. Methods raise one of `FAILURES`."""

    def __init__(self, uri: str) -> None:
        url = make_url(uri)
        self._engine = (
            create_engine("sqlite://", creator=lambda: sqlite3.connect(_read_only(url.database), uri=True, timeout=20))
            if url.get_backend_name() == "sqlite"
            else create_engine(url, execution_options={"postgresql_readonly": True})
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        finally:
            self._engine.dispose()

    def runs(self, experiment_id: str, *, with_params: bool) -> list[Run]:
        """See `RunSource`."""
        with self._connected() as connection:
            found = connection.execute(select(_RUNS).where(_RUNS.c.experiment_id == int(experiment_id))).all()
            connection.rollback()  # ends the transaction
            runs: list[Run] = []
            for start in range(0, len(found), _RUNS_AT_ONCE):
                rows = found[start : start + _RUNS_AT_ONCE]
                runs.extend(_runs(connection, rows, with_params))
                connection.rollback()
            return runs

    def histories(self, wanted: Sequence[History]) -> Iterator[tuple[History, Points]]:
        """See `RunSource`."""
        with self._connected() as connection:
            for history in wanted:
                found = _fetch(connection, _HISTORY, {"run": history.run.run_id, "key": history.key})
                rows = np.array(found, np.float64).reshape(-1, 4)
                connection.rollback()
                steps, timestamps = rows[:, 0].astype(np.int64), rows[:, 1].astype(np.int64)
                yield history, Points.newest(steps, timestamps, np.where(rows[:, 3] != 0, math.nan, rows[:, 2]))


# The order in which the API gives the points of a history.
_HISTORY = (
    select(_METRICS.c.step, _METRICS.c.timestamp, _METRICS.c.value, _METRICS.c.is_nan)
    .where(_METRICS.c.run_uuid == bindparam("run"), _METRICS.c.key == bindparam("key"))
    .order_by(_METRICS.c.step, _METRICS.c.timestamp, _METRICS.c.value)
)


def _read_only(path: str | None) -> str:
    escaped = (path or "").replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return f"file:{escaped}?mode=ro"


def _fetch(connection: Connection, query: Select[Any], given: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Rows as the driver gives them: of ten million a row object each would be most of the time."""
    cursor = connection.execute(query, given).cursor
    return list(cursor.fetchall()) if cursor is not None else []


def _of_runs(source: Any, names: Sequence[str]) -> Select[Any]:
    return select(source).where(source.c.run_uuid.in_(names))


def _runs(connection: Connection, rows: Sequence[Any], with_params: bool) -> Iterator[Run]:
    names = [row.run_uuid for row in rows]
    tags = _texts(connection, _TAGS, names)
    params = _texts(connection, _PARAMS, names) if with_params else {}
    metrics: dict[str, dict[str, float]] = defaultdict(dict)
    for run_id, key, value, is_nan in _fetch(connection, _of_runs(_LATEST, names), {}):
        metrics[run_id][sys.intern(key)] = math.nan if is_nan else as_logged(value)
    for row in rows:
        yield Run(
            row.run_uuid,
            row.name or "",
            row.status,
            row.start_time,
            row.end_time,
            row.lifecycle_stage == "deleted",
            row.artifact_uri or "",
            tags.get(row.run_uuid, {}),
            metrics.get(row.run_uuid, {}),
            params.get(row.run_uuid, {}),
        )


def _texts(connection: Connection, source: Any, names: Sequence[str]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for run_id, key, value in _fetch(connection, _of_runs(source, names), {}):
        found[run_id][sys.intern(key)] = sys.intern(value)
    return found
