"""Runs over the API and out of the database: the same, whatever is in them."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.records import from_mlflow as reading
from analysis.tracking import mlflow_api as server
from analysis.tracking import mlflow_database as direct
from analysis.tracking.history import Points
from analysis.tracking.run import History, Run
from tests.support.mlflow_records import read_records
from tests.support.plans import Database, evaluate_digest, make_plan, train_digest

BOTH = (server.Server, direct.Database)
TRAIN = train_digest("DFM")


def awkward(database: Database) -> None:
    """Runs as people leave them."""
    run_id = database.run(TRAIN, {"loss": math.nan, "seconds": math.inf, "low": -math.inf, "größe": 1e-300})
    database.curve(run_id, "loss", [(10, 5.0), (20, math.inf), (30, math.nan), (20, 3.0), (10**12, 1.7e308)])
    database.client.log_param(run_id, "sampling.tau", "(0.7,)")
    database.client.set_tag(run_id, "note", "a % b ? c\n'\"")
    database.client.delete_run(database.run(evaluate_digest("DFM", 200), {"fd": 1.0}))
    database.run("unfinished", status="running")


def by_id(runs: list[Run]) -> dict[str, str]:
    return {run.run_id: repr((reading._comparable(run), sorted(run.params.items()), run.deleted)) for run in runs}


def test_the_database_says_of_runs_what_the_api_says(database: Database) -> None:
    awkward(database)
    api, tables = (by_id(source(database.uri).runs("1", with_params=True)) for source in BOTH)
    assert api == tables
    assert len(api) == 3


@pytest.mark.parametrize("source", BOTH)
def test_a_history_has_the_newest_point_of_each_step(database: Database, source: type) -> None:
    awkward(database)
    runs = source(database.uri).runs("1", with_params=False)
    wanted = [History(run, "loss") for run in runs if run.digest == TRAIN]
    ((_, points),) = source(database.uri).histories(wanted)
    assert points.steps.tolist() == [0, 10, 20, 30, 10**12]
    np.testing.assert_equal(points.values, [math.nan, 5.0, 3.0, math.nan, 1.7e308])


@pytest.mark.parametrize("source", BOTH)
def test_of_points_of_one_millisecond_both_sources_take_the_same(database: Database, source: type) -> None:
    run_id = database.run(TRAIN)
    for value in (2.0, 7.0, 4.0):
        database.client.log_metric(run_id, "loss", value, timestamp=1_700_000_000_000, step=10)
    (run,) = source(database.uri).runs("1", with_params=False)
    ((_, points),) = source(database.uri).histories([History(run, "loss")])
    assert list(points) == [(10, 7.0)]


def test_the_database_is_only_read(database: Database) -> None:
    with (
        pytest.raises(sqlite3.OperationalError, match="readonly"),
        direct.Database(database.uri)._connected() as opened,
    ):
        opened.connection.cursor().execute("DELETE FROM runs")


def test_a_path_with_signs_of_a_url_is_opened(database: Database, tmp_path: Path) -> None:
    odd = tmp_path / "a ?#%20.db"
    odd.write_bytes(Path(database.uri.removeprefix("sqlite:///")).read_bytes())
    with sqlite3.connect(direct._read_only(str(odd)), uri=True) as opened:
        assert opened.execute("SELECT count(*) FROM runs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE latest_metrics RENAME COLUMN is_nan TO not_a_number", "no such column"),
        ("UPDATE latest_metrics SET value = value + 1", None),
    ],
)
def test_tables_that_are_not_what_they_were_are_not_believed(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, change: str, said: str | None
) -> None:
    database.run(TRAIN, {"seconds": 2.0})
    path = Path(database.uri.removeprefix("sqlite:///"))
    other = path.with_name("other.db")
    other.write_bytes(path.read_bytes())
    with sqlite3.connect(other) as opened:
        opened.execute(change)
    monkeypatch.setattr(direct, "_read_only", lambda _: f"file:{other}?mode=ro")
    assert read_records(make_plan(uri=database.uri))[TRAIN].metrics["seconds"] == 2.0
    assert "is read through MLflow's API, which takes longer" in caplog.text
    assert (said or "its tables say something else than the API") in caplog.text


def test_a_history_that_differs_is_not_believed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    database.curve(database.run(TRAIN, {"loss": 1.0}), "loss", [(10, 5.0)])
    api, tables = (source(database.uri) for source in BOTH)
    runs = {run.run_id: run for run in tables.runs("1", with_params=False)}
    assert reading._agree(api, tables, "1", runs)
    other = Points.of([(10, 6.0)])
    monkeypatch.setattr(direct.Database, "histories", lambda _, wanted: ((item, other) for item in wanted))
    assert not reading._agree(api, tables, "1", runs)


pairs = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats(allow_nan=False)), max_size=20)


@given(pairs)
def test_points_survive_their_bytes(found: list[tuple[int, float]]) -> None:
    points = Points.of(found)
    assert Points.from_bytes(points.to_bytes()) == found
    assert len(points) == len(found)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.floats(-9, 9)), max_size=20))
def test_the_point_logged_last_counts_at_each_step(logged: list[tuple[int, int, float]]) -> None:
    expected: dict[int, tuple[int, float]] = {}
    for step, timestamp, value in logged:
        if step not in expected or timestamp >= expected[step][0]:
            expected[step] = timestamp, value
    columns = [np.array([row[index] for row in logged], kind) for index, kind in enumerate((np.int64, np.int64, float))]
    assert list(Points.newest(*columns)) == [(step, value) for step, (_, value) in sorted(expected.items())]


def test_points_are_cut_like_a_sequence() -> None:
    points = Points.of([(1, 0.5), (2, 0.25), (3, 0.125)])
    assert points[-1] == (3, 0.125)
    assert points[:2] == [(1, 0.5), (2, 0.25)]
    assert points[0] != (2, 0.5)
