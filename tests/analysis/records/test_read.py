"""The store's records and MLflow's runs, joined: where they differ the record stands, and a note says so."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.errors import TrackingUnreachableError, UserError
from analysis.records import from_mlflow
from analysis.records import read as read_module
from analysis.records.read import read_records
from analysis.records.record import Reading, Record
from analysis.records.stored_files import StorageRoot
from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import HistoryRequest, Run
from tests.analysis.records.test_from_storage import write
from tests.support.plans import Database, as_planned, evaluate_digest, make_plan, png, train_digest

DIGEST, TRAIN = evaluate_digest("DFM", 200), train_digest("DFM")
CURVE = [{"step": float(step), "loss": 1.0 / step} for step in (10, 20, 200)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def read(database: Database, root: Path, **changes: Any) -> Reading:
    return read_records(replace(make_plan(uri=database.uri), **changes), StorageRoot(str(root)))


def record(database: Database, root: Path, digest: str = DIGEST) -> Record:
    return read(database, root).records[digest]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """Names of the files and histories that MLflow is asked for, by run."""
    names: dict[str, set[str]] = {}
    files, histories = TrackingClient.files, TrackingClient.histories

    def ask_files(self: TrackingClient, requests: Sequence[tuple[Run, frozenset[str]]]) -> Any:
        for run, wanted in requests:
            names.setdefault(run.run_id, set()).update(wanted)
        return files(self, requests)

    def ask_histories(self: TrackingClient, requests: Sequence[HistoryRequest]) -> Any:
        for request in requests:
            names.setdefault(request.run.run_id, set()).add(request.key)
        return histories(self, requests)

    monkeypatch.setattr(TrackingClient, "files", ask_files)
    monkeypatch.setattr(TrackingClient, "histories", ask_histories)
    monkeypatch.setattr("analysis.tracking.cached_run_data.local_files", lambda *_: None)
    return names


def test_a_finished_sweep_reads_the_same_with_records_and_without(database: Database, root: Path) -> None:
    plan = make_plan(uri=database.uri)
    database.fill(plan, {"flow matching": 30.0, "DFM": 20.0})
    alone = read_records(plan, None)
    for digest, kept in alone.records.items():
        rows = [{"step": float(step), "loss": 1.0 / step, "loss_stage_0": 1.0 / step} for step in range(20, 201, 20)]
        evaluation = plan.evaluations.get(digest) or plan.floors.get(digest)
        about = json.loads(as_planned(evaluation)) if evaluation else {}
        values = {name: value for name, value in kept.metrics.items() if not name.startswith("loss")}
        seconds = values.pop("seconds", None)
        if seconds is None:  # older than the record of wall time
            seconds = 1.0
            database.client.log_metric(kept.run_id, "work/seconds", seconds)
        files = {"real.png": png(200)} if digest == "reference" else {"samples.png": kept.image} if kept.image else {}
        write(root, digest, values, files, curve=rows if plan.kinds[digest] == "train" else [], about=about)
        path = root / "results" / digest / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "seconds": seconds}))
    alone = read_records(plan, None)
    joined = read_records(plan, StorageRoot(str(root)))
    assert joined.notes == alone.notes
    assert list(joined.records) == list(alone.records)
    for digest, found in joined.records.items():
        expected = alone.records[digest]
        values = {name: value for name, value in expected.metrics.items() if not name.startswith("loss")}
        assert replace(found, path="") == replace(expected, metrics=values)


def test_of_a_recorded_task_mlflow_is_asked_for_the_version_of_the_code_alone(
    database: Database, root: Path, asked: dict[str, set[str]]
) -> None:
    agreeing = database.run(TRAIN, {"seconds": 3.0, "loss": 0.1})
    write(root, TRAIN, {}, curve=CURVE)
    other = database.run(train_digest("flow matching"), {"loss": 0.1})
    found = record(database, root, TRAIN)
    assert (found.run_id, found.curves["loss"]) == (agreeing, [(int(row["step"]), row["loss"]) for row in CURVE])
    assert asked[agreeing] == {"provenance.json"}
    assert {"loss", "task.json"} <= asked[other]


def test_where_values_differ_the_record_stands_and_says_so(database: Database, root: Path) -> None:
    run_id = database.run(DIGEST, {"fd": 1.0, "accuracy": 0.5, "work/seconds": 3.0})
    write(root, DIGEST, {"fd": 2.0, "accuracy": 0.5, "images_per_second": 7.0})
    found = record(database, root)
    assert (found.status, found.metrics["fd"], found.run_id) == ("done", 2.0, run_id)
    (note,) = found.notes
    assert note == (
        f"run {run_id} differs from the task's record, which stands: fd 1, not 2; images_per_second none, not 7"
    )


@pytest.mark.parametrize("status", ["running", "failed"])
def test_a_record_stands_against_a_run_that_did_not_hear_of_it(database: Database, root: Path, status: str) -> None:
    run_id = database.run(DIGEST, status=status)
    write(root, DIGEST, {"fd": 2.0})
    found = record(database, root)
    assert (found.status, found.metrics["fd"]) == ("done", 2.0)
    assert found.notes == (f"run {run_id} is {status} in MLflow; the task's record is complete and stands",)


def test_a_number_whose_run_was_deleted_stands_and_says_so(database: Database, root: Path) -> None:
    run_id = database.run(DIGEST, {"fd": 2.0, "work/seconds": 3.0})
    write(root, DIGEST, {"fd": 2.0})
    database.client.delete_run(run_id)
    found = record(database, root)
    assert (found.status, found.metrics["fd"]) == ("done", 2.0)
    assert found.source == f"results/{DIGEST}/result.json"
    (note,) = found.notes
    assert note.startswith(f"deleted in MLflow: run {run_id}; restore it there")
    assert note.endswith("; the task's record stands")


def test_a_record_without_a_run_is_counted_in_a_note(database: Database, root: Path) -> None:
    write(root, DIGEST, {"fd": 2.0})
    found = read(database, root)
    assert found.records[DIGEST].metrics["fd"] == 2.0
    assert found.notes == (
        "1 task has a record and no run in MLflow; the records stand. Submit the sweep again to fill MLflow.",
    )


def test_without_an_experiment_the_records_stand(database: Database, root: Path) -> None:
    write(root, DIGEST, {"fd": 2.0})
    database.client.rename_experiment(database._experiment, "another")
    found = read(database, root)
    assert found.records[DIGEST].metrics["fd"] == 2.0
    assert found.notes == ("The tracking server has no experiment 'small': every number is that of the task's record.",)


def test_of_duplicates_the_one_that_says_what_the_record_says_is_linked(database: Database, root: Path) -> None:
    older = database.run(DIGEST, {"fd": 2.0, "work/seconds": 3.0})
    newer = database.run(DIGEST, {"fd": 1.0, "work/seconds": 3.0})
    write(root, DIGEST, {"fd": 2.0})
    found = record(database, root)
    assert (found.run_id, found.metrics["fd"]) == (older, 2.0)
    assert found.notes == (
        f"2 finished runs claim this task; as recorded, {older}, counts alone. Left out: {newer} (fd 1, not 2)",
    )


def test_an_impostor_is_found_out_beside_a_record(database: Database, root: Path) -> None:
    honest = {DIGEST: {"step": 200}}
    other = database.run(DIGEST, {"fd": 1.0}, files={"task.json": b'{"step": 100}'})
    write(root, DIGEST, {"fd": 2.0})
    found = read(database, root, payloads=honest).records[DIGEST]
    assert (found.status, found.metrics["fd"], found.run_id) == ("done", 2.0, "")
    (note,) = found.notes
    assert note.startswith(f"run {other} carries this task's digest, but its task.json says")


@pytest.mark.parametrize("status", ["done", "running"])
def test_a_training_that_is_to_go_on_is_what_mlflow_says(database: Database, root: Path, status: str) -> None:
    run_id = database.run(TRAIN, status=status)
    database.curve(run_id, "loss", [(10, 5.0), (160, 4.0)])
    write(root, TRAIN, {}, step=150, curve=CURVE[:1])
    found = record(database, root, TRAIN)
    assert (found.status, found.curves["loss"], found.notes) == (status, [(10, 5.0), (160, 4.0)], ())


def test_a_broken_record_leaves_the_runs_number_and_is_said(database: Database, root: Path) -> None:
    database.run(DIGEST, {"fd": 1.0})
    write(root, DIGEST, {})
    (root / "results" / DIGEST / "result.json").write_text("{")
    found = record(database, root)
    assert (found.status, found.metrics) == ("done", {"fd": 1.0})
    assert found.notes == (
        f"results/{DIGEST}/result.json is no record of this task (not a JSON object); it is left out",
    )


def test_a_store_that_cannot_be_read_leaves_mlflows_numbers_and_is_said(database: Database, root: Path) -> None:
    database.run(DIGEST, {"fd": 1.0})
    root.mkdir()
    (root / "results").write_text("a file")
    found = read(database, root)
    assert found.records[DIGEST].metrics["fd"] == 1.0
    (note,) = found.notes
    assert "its records cannot be read" in note
    assert note.endswith("Every number is MLflow's.")


def test_without_either_it_is_the_users_mistake(tmp_path: Path) -> None:
    plan = make_plan(uri=f"sqlite:///{tmp_path}/absent.db")
    (tmp_path / "results").write_text("a file")
    with pytest.raises(UserError, match="its records cannot be read"):
        read_records(plan, StorageRoot(str(tmp_path)))
    with pytest.raises(TrackingUnreachableError):
        read_records(plan, None)
    with pytest.raises(TrackingUnreachableError):
        read_records(plan, StorageRoot(str(tmp_path / "nowhere")), whole_runs=True)


def test_the_store_is_read_while_mlflow_answers(
    database: Database, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(DIGEST, {"fd": 1.0})
    write(root, DIGEST, {"fd": 1.0})
    begun = threading.Event()
    find, read_files = from_mlflow.find_runs, read_module.read_record_files

    def find_once_files_are_read(*plan: Any, **more: Any) -> Any:
        assert begun.wait(60), "the records are not read meanwhile"
        return find(*plan, **more)

    def read_and_say_so(*given: Any) -> Any:
        begun.set()
        return read_files(*given)

    monkeypatch.setattr(from_mlflow, "find_runs", find_once_files_are_read)
    monkeypatch.setattr(read_module, "read_record_files", read_and_say_so)
    assert record(database, root).run_id


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_a_reading_as_it_was_before(tmp_path: Path, enabled: bool) -> None:
    was_enabled = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    with pytest.raises(TrackingUnreachableError):
        read_records(make_plan(uri=f"sqlite:///{tmp_path}/absent.db"), None)
    is_enabled = gc.isenabled()
    (gc.enable if was_enabled else gc.disable)()
    assert is_enabled == enabled
