"""Records read from a real MLflow database."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from analysis.errors import UserError
from analysis.records.about import About
from analysis.tracking import mlflow_api as server
from analysis.tracking.address import ui_command, without_password
from tests.support.mlflow_records import read_records
from tests.support.plans import Database, about, evaluate_digest, make_plan, png, protocol, train_digest

DIGEST = evaluate_digest("DFM", 200)


def test_an_empty_database_has_no_records(database: Database) -> None:
    assert read_records(make_plan(uri=database.uri)) == {}


def test_an_experiment_nobody_created_has_no_records(database: Database) -> None:
    database.client.rename_experiment(database._experiment, "another")
    assert read_records(make_plan(uri=database.uri)) == {}


def test_a_done_run_is_preferred_to_a_newer_one(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0}, status="failed")
    database.run(DIGEST, {"fd": 2.0})
    database.run(DIGEST, {"fd": 3.0}, status="running")
    assert read_records(make_plan(uri=database.uri))[DIGEST].metrics == {"fd": 2.0}


def test_of_several_done_runs_the_newest_counts(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0})
    database.run(DIGEST, {"fd": 2.0})
    assert read_records(make_plan(uri=database.uri))[DIGEST].metrics == {"fd": 2.0}


def test_a_run_of_another_sweep_is_left_out(database: Database) -> None:
    database.run("another digest", {"fd": 1.0})
    assert read_records(make_plan(uri=database.uri)) == {}


def test_of_several_attempts_the_newest_point_of_each_step_counts(database: Database) -> None:
    run_id = database.run(train_digest("DFM"))
    database.curve(run_id, "loss", [(10, 5.0), (20, 4.0), (30, 9.0), (40, 9.5)])
    database.curve(run_id, "loss", [(30, 3.0)])
    record = read_records(make_plan(uri=database.uri))[train_digest("DFM")]
    assert record.curves["loss"] == ((10, 5.0), (20, 4.0), (30, 3.0), (40, 9.5))


def test_only_losses_are_read_as_curves(database: Database) -> None:
    run_id = database.run(train_digest("DFM"))
    for name in ("loss", "loss_stage_1", "learning_rate"):
        database.curve(run_id, name, [(10, 5.0)])
    assert set(read_records(make_plan(uri=database.uri))[train_digest("DFM")].curves) == {"loss", "loss_stage_1"}


def test_nan_and_infinity_come_back_as_they_were_logged(database: Database) -> None:
    database.run(DIGEST, {"fd": math.nan, "accuracy": math.inf, "seconds": -math.inf})
    metrics = read_records(make_plan(uri=database.uri))[DIGEST].metrics
    assert math.isnan(metrics["fd"])
    assert (metrics["accuracy"], metrics["seconds"]) == (math.inf, -math.inf)


def test_a_killed_run_that_still_says_running_has_failed(database: Database) -> None:
    run_id = database.run(DIGEST, status="running")
    database.client.set_terminated(run_id, status="KILLED")
    assert read_records(make_plan(uri=database.uri))[DIGEST].status == "failed"


def test_artifacts_are_read_and_broken_ones_left_out(database: Database) -> None:
    database.run(DIGEST, files={"samples.png": png(), "provenance.json": b'{"python": "3.11"}'})
    broken = evaluate_digest("DFM", 100)
    database.run(broken, files={"samples.png": b"not an image", "provenance.json": b"{"})
    records = read_records(make_plan(uri=database.uri))
    assert (records[DIGEST].image, records[DIGEST].provenance) == (png(), {"python": "3.11"})
    assert (records[broken].image, records[broken].provenance) == (None, {})


@pytest.mark.parametrize("digest", [DIGEST, "floor"])
def test_what_a_run_says_of_its_numbers_is_read(database: Database, digest: str) -> None:
    said = {"notes": {"fd": ["few samples"]}, "protocols": {"fd": protocol("fd")}}
    database.run(digest, {"fd": 1.0}, files={"about.json": json.dumps(said).encode()})
    found = read_records(make_plan(uri=database.uri))[digest].about
    assert (found.notes, found.problems) == ({"fd": ("few samples",)}, ())
    assert found.protocols["fd"].values == protocol("fd")


def test_a_run_that_says_nothing_has_no_problem(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0})
    assert read_records(make_plan(uri=database.uri))[DIGEST].about == About()


def test_only_runs_that_measure_are_asked_what_they_say(database: Database) -> None:
    for digest in ("reference", "probe", train_digest("DFM")):
        database.run(digest, files={"about.json": b"{"})
    assert [record.about for record in read_records(make_plan(uri=database.uri)).values()] == [About()] * 3


def test_of_duplicate_runs_number_and_protocol_come_from_the_same_one(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0, "fd_standard_error": 0.1}, files={"about.json": about(num_samples=100)})
    database.run(DIGEST, {"fd": 2.0}, files={"about.json": about(num_samples=200)})
    database.run(DIGEST, {"fd": 3.0}, status="failed", files={"about.json": b"{"})
    record = read_records(make_plan(uri=database.uri))[DIGEST]
    assert record.metrics == {"fd": 2.0}
    assert record.about.protocols["fd"].num_samples == 200
    assert record.about.problems == ()


def test_a_broken_about_file_leaves_the_numbers(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0}, files={"about.json": b'{"notes": '})
    record = read_records(make_plan(uri=database.uri))[DIGEST]
    assert record.metrics == {"fd": 1.0}
    assert record.about == About(problems=("about.json is not a JSON object; it is left out",))


def test_tasks_of_every_kind_have_records(database: Database) -> None:
    kinds = ("reference", "probe", "floor", train_digest("DFM"), DIGEST)
    for digest in kinds:
        database.run(digest, files={"real.png": png()})
    records = read_records(make_plan(uri=database.uri))
    assert set(records) == set(kinds)
    assert [digest for digest, record in records.items() if record.image] == ["reference"]


def test_more_runs_than_a_page_are_all_seen(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_PAGE", 2)
    names = {database.run(train_digest(row)) for row in "abcde"}
    assert {run.run_id for run in server.TrackingClient(database.uri).runs("1")} == names


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "postgresql://user:secret@127.0.0.1:1/x"])
def test_a_server_that_does_not_answer_is_named_without_its_password(uri: str) -> None:
    with pytest.raises(UserError, match=r"tracking database .*127\.0\.0\.1:1.*start the tracking server") as caught:
        read_records(make_plan(uri=uri))
    assert "secret" not in str(caught.value)


def test_an_absent_database_is_reported_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_records(make_plan(uri=f"sqlite:///{tmp_path}/folder/x.db"))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_reported(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello, this is a text file")
    with pytest.raises(UserError, match="not an sqlite database"):
        read_records(make_plan(uri=f"sqlite:///{tmp_path}/x.db"))


def test_a_tracking_uri_of_an_unknown_kind_is_reported() -> None:
    with pytest.raises(UserError, match="tracking database gopher://x"):
        read_records(make_plan(uri="gopher://x"))


def test_the_command_for_the_ui_quotes_its_uri_and_a_server_needs_none() -> None:
    assert ui_command("sqlite:////a b/x.db") == "mlflow ui --backend-store-uri 'sqlite:////a b/x.db'"
    assert ui_command("http://host:5000") is None
    assert without_password("postgresql://me:secret@host/db") == "postgresql://me:***@host/db"
