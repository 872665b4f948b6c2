"""What a real tracking server says of many runs at once is what it says of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.tracking import bulk_histories
from analysis.tracking import mlflow_api as server
from analysis.tracking.history import Points
from analysis.tracking.run import History
from tests.support.mlflow_server import mlflow_server
from tests.support.plans import Database

RUNS, POINTS = 30, 12
ONE_BY_ONE = "histories are read one by one, which takes longer"


@pytest.fixture(scope="module")
def served(_empty_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Runs with awkward losses, one of them without any."""
    folder = tmp_path_factory.mktemp("served")
    path = folder / "mlflow.db"
    path.write_bytes(_empty_database.read_bytes())
    database = Database(path)
    for number in range(RUNS):
        run_id = database.run(f"train {number}", {"seconds": 1.0})
        database.curve(run_id, "loss", [(10 * step, number + 1 / (step + 1)) for step in range(POINTS + number % 3)])
        if number % 10 == 0:
            database.curve(run_id, "loss", [(10, 7.0), (20, math.inf), (30, math.nan)])
        if number % 10 == 1:
            database.curve(run_id, "loss", [(10**9, math.nan)])
    database.run("train without a loss")
    artifacts = folder / "files"
    with mlflow_server(database.uri, folder, artifacts) as address:
        yield address


@pytest.fixture
def asked_singly(monkeypatch: pytest.MonkeyPatch) -> list[History]:
    """What the public API is asked for, run by run."""
    asked: list[History] = []
    one = server.Server._history

    def _noted(self: server.Server, wanted: History) -> Points:
        asked.append(wanted)
        return one(self, wanted)

    monkeypatch.setattr(server.Server, "_history", _noted)
    return asked


def histories(uri: str, keys: tuple[str, ...] = ("loss",)) -> dict[tuple[str, str], bytes]:
    source = server.Server(uri)
    wanted = [History(run, key) for run in source.runs("1", with_params=False) for key in keys]
    found = list(source.histories(wanted))
    assert sorted((history.run.run_id, history.key) for history, _ in found) == sorted(
        (history.run.run_id, history.key) for history in wanted
    )
    return {(history.run.run_id, history.key): points.to_bytes() for history, points in found}


@pytest.fixture(scope="module")
def singly(served: str) -> dict[tuple[str, str], bytes]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bulk_histories, "_FIRST_RUNS", 10**6)
        return histories(served, ("loss", "seconds"))


def of_losses(found: dict[tuple[str, str], bytes]) -> dict[tuple[str, str], bytes]:
    return {key: points for key, points in found.items() if key[1] == "loss"}


def test_a_few_answers_hold_what_one_for_each_run_holds(
    served: str, singly: dict[tuple[str, str], bytes], asked_singly: list[History], caplog: pytest.LogCaptureFixture
) -> None:
    assert histories(served, ("loss", "seconds")) == singly
    without = [history for history in asked_singly if history.run.digest == "train without a loss"]
    assert len(without) == 2
    assert len(asked_singly) == 2 + 2 + 2, "and of each key a sample, and the last one of the answer that lacks a run"
    assert not caplog.text


@pytest.mark.parametrize("most", [2 * (POINTS + 3), 5 * POINTS, 200])
def test_of_answers_that_are_cut_the_rest_is_asked_for(
    served: str,
    singly: dict[tuple[str, str], bytes],
    asked_singly: list[History],
    monkeypatch: pytest.MonkeyPatch,
    most: int,
) -> None:
    monkeypatch.setattr(bulk_histories, "_MOST_POINTS", most)
    monkeypatch.setattr(bulk_histories, "_FILLED", 3.0)
    assert histories(served) == of_losses(singly)
    assert len(asked_singly) > 2


def test_a_server_that_cuts_earlier_than_it_says_is_found_out(
    served: str, singly: dict[tuple[str, str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = bulk_histories.http_request_safe
    monkeypatch.setattr(
        bulk_histories,
        "http_request_safe",
        lambda creds, path, method, params: ask(creds, path, method, params={**params, "max_results": 5 * POINTS + 3}),
    )
    assert histories(served) == of_losses(singly)


def test_a_server_without_this_question_is_asked_for_each_run(
    served: str,
    singly: dict[tuple[str, str], bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(bulk_histories, "_PATH", "/ajax-api/2.0/mlflow/metrics/of-another-version")
    assert histories(served) == of_losses(singly)
    assert ONE_BY_ONE in caplog.text


def test_a_server_that_says_something_else_is_not_believed(
    served: str,
    singly: dict[tuple[str, str], bytes],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    right = bulk_histories._points
    monkeypatch.setattr(bulk_histories, "_points", lambda logged: right([logged[0], *logged[2:]] if logged else []))
    assert histories(served) == of_losses(singly)
    assert f"{ONE_BY_ONE}: the server does not give many at once: it says something else than the API" in caplog.text


def test_a_server_hands_out_the_named_files_that_there_are(served: str) -> None:
    source = server.Server(served)
    client = source._client
    experiment = client.create_experiment("with files")
    ids = [client.create_run(experiment).info.run_id for _ in range(3)]
    for number, run_id in enumerate(ids[:2]):
        client.log_text(run_id, f"of {number}", "task.json")
        client.log_text(run_id, "more", "about.json")
        client.log_text(run_id, "deeper", "folder/provenance.json")
    runs = {run.run_id: run for run in source.runs(experiment, with_params=False)}
    assert all(run.artifact_uri.startswith("mlflow-artifacts:/") for run in runs.values())
    found = {run.run_id: files for run, files in source.files([(run, {"task.json"}) for run in runs.values()])}
    assert found == {ids[0]: {"task.json": b"of 0"}, ids[1]: {"task.json": b"of 1"}, ids[2]: {}}
