"""Values in MLflow that no launcher writes: they cost a cell or a picture, never the report."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from analysis.records.record import Record
from analysis.report.build import write_report
from tests.support.mlflow_records import read_records
from tests.support.plans import STEPS, Database, evaluate_digest, make_plan, train_digest

LAST = evaluate_digest("DFM", STEPS[-1], 0)
OTHER = evaluate_digest("flow matching", STEPS[-1], 0)


@pytest.fixture
def filled(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    database.fill(make_plan(uri=database.uri), {"flow matching": 30.0, "DFM": 20.0})
    return database


def change(database: Database, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database.uri.removeprefix("sqlite:///"))) as connection:
        connection.execute(statement, values)
        connection.commit()


def put_artifacts(database: Database, digest: str, place: str) -> Record:
    """Say that a run has its artifacts elsewhere. Returns its record."""
    chosen = "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'dfm.digest' AND value = ?)"
    change(database, f"UPDATE runs SET artifact_uri = ? WHERE {chosen}", place, digest)
    return read_records(make_plan(uri=database.uri))[digest]


def test_numbers_beyond_arithmetic_are_left_out_with_a_note(filled: Database, tmp_path: Path) -> None:
    change(filled, "UPDATE latest_metrics SET value = 1e308 WHERE key = 'fd' AND step = ?", STEPS[-1])
    change(filled, "UPDATE latest_metrics SET value = -1e200 WHERE key IN ('seconds', 'fd_standard_error')")
    change(filled, "UPDATE metrics SET value = 1e308 WHERE key = 'loss' AND step = 100")
    records = read_records(make_plan(uri=filled.uri))
    assert "fd" not in records[LAST].metrics
    assert records[LAST].metrics["accuracy"] == 0.2
    assert any("fd is 1e+308, which nothing measures; it is left out" in note for note in records[LAST].notes)
    training = records[train_digest("DFM", 0)]
    assert dict(training.curves["loss"])[100] == float("inf")
    assert any("loss is not finite at 1 of 10 points" in note for note in training.notes)
    assert write_report(make_plan(uri=filled.uri), str(tmp_path / "report")).html


def test_a_place_that_cannot_be_read_costs_the_picture_alone(filled: Database) -> None:
    before = read_records(make_plan(uri=filled.uri))
    for place in ("s3:", "s3://nobody/x", "nosuch://x", "http://[bad", "runs:/abc/x", "/y" * 3000):
        record = put_artifacts(filled, LAST, place)
        assert (record.status, record.metrics, record.image) == ("done", before[LAST].metrics, None), place
        assert any(f"files of run {record.run_id} are left out: " in note for note in record.notes), place
    assert read_records(make_plan(uri=filled.uri))[OTHER] == before[OTHER]


def test_another_server_is_not_asked_since_it_would_be_sent_our_token(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        stranger.settimeout(0.2)
        for scheme in ("http", "HTTP", "mlflow-artifacts"):
            record = put_artifacts(filled, LAST, f"{scheme}://127.0.0.1:{stranger.getsockname()[1]}/x")
            assert any("they lie on another server, 127.0.0.1" in note for note in record.notes)
        with pytest.raises(TimeoutError):
            stranger.accept()
