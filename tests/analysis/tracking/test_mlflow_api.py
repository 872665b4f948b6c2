"""Runs over the public API, of a database and of a real tracking server before it."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import HistoryRequest
from tests.support.mlflow_server import mlflow_server
from tests.support.plans import Database, evaluate_digest, train_digest

TRAIN = train_digest("DFM")


@pytest.fixture(scope="module")
def addresses(_empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Runs as people leave them, behind a database and a server."""
    folder = tmp_path_factory.mktemp("served")
    path = folder / "mlflow.db"
    path.write_bytes(_empty_database.read_bytes())
    database = Database(path)
    run_id = database.run(TRAIN, {"loss": math.nan, "seconds": math.inf, "low": -math.inf, "größe": 1e-300})
    database.curve(run_id, "loss", [(10, 5.0), (20, math.inf), (30, math.nan), (20, 3.0), (10**12, 1.7e308)])
    database.client.log_param(run_id, "sampling.tau", "(0.7,)")
    database.client.set_tag(run_id, "note", "a % b ? c\n'\"")
    for value in (2.0, 7.0, 4.0):
        database.client.log_metric(run_id, "loss_stage_0", value, timestamp=1_700_000_000_000, step=10)
    database.client.delete_run(database.run(evaluate_digest("DFM", 200), {"fd": 1.0}))
    database.run("unfinished", status="running")
    with mlflow_server(database.uri, folder, folder / "files") as address:
        yield {"database": database.uri, "server": address}


@pytest.fixture(params=["database", "server"])
def client(request: pytest.FixtureRequest, addresses: dict[str, str]) -> TrackingClient:
    return TrackingClient(addresses[request.param])


def test_a_run_is_as_it_was_logged(client: TrackingClient) -> None:
    runs = {run.digest: run for run in client.runs("1", with_params=True)}
    assert {digest: (run.status, run.deleted) for digest, run in runs.items()} == {
        TRAIN: ("FINISHED", False),
        evaluate_digest("DFM", 200): ("FINISHED", True),
        "unfinished": ("RUNNING", False),
    }
    run = runs[TRAIN]
    assert run.tags["note"] == "a % b ? c\n'\""
    assert run.params == {"sampling.tau": "(0.7,)"}
    assert [run.params for run in client.runs("1")] == [{}] * 3
    assert {key: run.metrics[key] for key in ("seconds", "low", "größe")} == {
        "seconds": math.inf,
        "low": -math.inf,
        "größe": 1e-300,
    }


def test_a_history_has_the_newest_point_of_each_step(client: TrackingClient) -> None:
    (run,) = (run for run in client.runs("1") if run.digest == TRAIN)
    found = dict(client.histories([HistoryRequest(run, key) for key in ("loss", "loss_stage_0")]))
    histories = {request.key: history for request, history in found.items()}
    assert histories["loss"].steps.tolist() == [0, 10, 20, 30, 10**12]
    np.testing.assert_equal(histories["loss"].values, [math.nan, 5.0, 3.0, math.nan, 1.7e308])
    assert list(histories["loss_stage_0"]) == [(10, 7.0)]


def test_a_server_hands_out_the_named_files_that_there_are(addresses: dict[str, str]) -> None:
    source = TrackingClient(addresses["server"])
    client = source._client
    experiment = client.create_experiment("with files")
    ids = [client.create_run(experiment).info.run_id for _ in range(3)]
    for number, run_id in enumerate(ids[:2]):
        client.log_text(run_id, f"of {number}", "task.json")
        client.log_text(run_id, "more", "about.json")
        client.log_text(run_id, "deeper", "folder/provenance.json")
    runs = {run.run_id: run for run in source.runs(experiment)}
    assert all(run.artifact_uri.startswith("mlflow-artifacts:/") for run in runs.values())
    found = {run.run_id: files.found for run, files in source.files([(run, {"task.json"}) for run in runs.values()])}
    assert found == {ids[0]: {"task.json": b"of 0"}, ids[1]: {"task.json": b"of 1"}, ids[2]: {}}


def test_the_garbage_collector_is_left_as_it_was(database: Database) -> None:
    client = TrackingClient(database.uri)
    client.runs("1")
    assert gc.isenabled()
    gc.disable()
    try:
        client.runs("1")
        assert not gc.isenabled()
    finally:
        gc.enable()
