"""What people, outages and several attempts leave in MLflow: said in the report, never averaged away."""

from __future__ import annotations

import json
import math
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from analysis.comparison.joined_sweep import JoinedSweep
from analysis.plan.model import PublishedPlan
from analysis.records.read import read_records
from analysis.report.build import render_report
from tests.support.plans import Database, evaluate_digest, make_plan, plan_document, train_digest

DIGEST, TRAIN = evaluate_digest("DFM", 200), train_digest("DFM")


def report(plan: PublishedPlan) -> tuple[str, str]:
    """Words of the page, and table.csv."""
    reading = read_records(plan, None)
    files = render_report(JoinedSweep.of(plan, reading.records), reading.notes)
    page = unescape(re.sub(r"<[^>]*>", " ", files["report.html"].decode()))
    return re.sub(r"\s+", " ", page), files["table.csv"].decode()


def value_of(database: Database, digest: str = DIGEST, metric: str = "fd") -> float:
    return read_records(make_plan(uri=database.uri), None).records[digest].metrics[metric]


def source(commit: str, **more: Any) -> dict[str, bytes]:
    return {"provenance.json": json.dumps({"source": {"git_commit": commit, **more}}).encode()}


def test_of_duplicates_one_counts_and_the_others_are_named(database: Database) -> None:
    older = database.run(DIGEST, {"fd": 1.0, "accuracy": 0.5})
    same = database.run(DIGEST, {"fd": 2.0, "accuracy": 0.5})
    newest = database.run(DIGEST, {"fd": 2.0, "accuracy": 0.5})
    page, table = report(make_plan(uri=database.uri))
    assert f"3 finished runs claim this task; the newest, {newest}, counts alone. Left out: {same} (the same" in page
    assert f"{older} (fd 1, not 2)" in page
    assert value_of(database) == 2.0
    assert "1.5" not in table


def test_runs_of_several_code_versions_are_told_apart(database: Database) -> None:
    for step, commit in ((100, "aaaa1111aaaa1111"), (200, "bbbb2222bbbb2222")):
        changes = {"uncommitted_diff": "+ x"} if step == 200 else {}
        database.run(evaluate_digest("DFM", step), {"fd": 1.0}, files=source(commit, **changes))
    page, _ = report(make_plan(uri=database.uri))
    assert (
        "The numbers come from 2 versions of the code, all of the same numerics: commit aaaa1111aa (DFM @ 100)" in page
    )
    assert "commit bbbb2222bb with uncommitted changes (DFM @ 200)." in page


def test_one_code_version_is_no_news(database: Database) -> None:
    for step in (100, 200):
        database.run(evaluate_digest("DFM", step), {"fd": 1.0}, files=source("aaaa1111"))
    assert read_records(make_plan(uri=database.uri), None).notes == ()


def test_runs_of_another_plan_are_counted_and_left_out(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0})
    database.run("a digest of an earlier code version", {"fd": 98765.5})
    database.client.create_run("1")
    page, table = report(make_plan(uri=database.uri))
    assert "2 runs of the experiment are of no task of this plan" in page
    assert "1 of them without a dfm.digest tag" in page
    assert "98765" not in table


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_number_is_said_and_never_best(database: Database, value: float) -> None:
    database.run(DIGEST, {"fd": value, "accuracy": 0.5})
    database.run(evaluate_digest("flow matching", 200), {"fd": 30.0, "accuracy": 0.4})
    page, table = report(make_plan(uri=database.uri))
    assert f"fd is {value}; it is never best" in page
    assert f",{value}," in table


def test_a_history_that_is_no_number_says_where(database: Database) -> None:
    run_id = database.run(TRAIN)
    database.curve(run_id, "loss", [(10, 1.0), (20, math.nan), (30, math.inf), (40, 1.0)])
    page, _ = report(make_plan(uri=database.uri))
    assert "loss is not finite at 2 of 4 points, first at step 20." in page


def test_a_deleted_run_leaves_a_gap_that_says_why(database: Database) -> None:
    run_id = database.run(DIGEST, {"fd": 1.0})
    database.client.delete_run(run_id)
    page, _ = report(make_plan(uri=database.uri))
    assert f"deleted in MLflow: run {run_id}; restore it there, or submit the sweep again" in page
    assert read_records(make_plan(uri=database.uri), None).records[DIGEST].status == "missing"
    database.client.restore_run(run_id)
    assert value_of(database) == 1.0


def test_a_deleted_run_beside_a_whole_one_is_no_news(database: Database) -> None:
    database.client.delete_run(database.run(DIGEST, {"fd": 1.0}))
    database.run(DIGEST, {"fd": 2.0})
    assert read_records(make_plan(uri=database.uri), None).records[DIGEST].notes == ()
    assert value_of(database) == 2.0


def test_a_deleted_or_absent_experiment_is_said(database: Database) -> None:
    database.run(DIGEST, {"fd": 1.0})
    database.client.delete_experiment("1")
    page, _ = report(make_plan(uri=database.uri))
    assert "The experiment 'small' was deleted in MLflow" in page
    database.client.restore_experiment("1")
    database.client.rename_experiment("1", "another")
    page, _ = report(make_plan(uri=database.uri))
    assert "The tracking server has no experiment 'small'" in page


def test_a_digest_written_onto_another_run_is_found_out(database: Database) -> None:
    honest = replace(make_plan(uri=database.uri), payloads={DIGEST: {"kind": "evaluate", "step": 200}})
    did = {"task.json": json.dumps({"kind": "evaluate", "step": 200}).encode()}
    database.run(DIGEST, {"fd": 2.0}, files=did)
    other = database.run(DIGEST, {"fd": 1.0}, files={"task.json": b'{"kind": "evaluate", "step": 100}'})
    record = read_records(honest, None).records[DIGEST]
    assert record.metrics["fd"] == 2.0
    (note,) = record.notes
    assert note.startswith(f"run {other} carries this task's digest, but its task.json says that it did something else")
    assert note.endswith("its tag was changed by hand; it is left out")


def test_a_task_that_only_impostors_claim_is_missing(database: Database) -> None:
    honest = replace(make_plan(uri=database.uri), payloads={DIGEST: {"step": 200}})
    database.run(DIGEST, {"fd": 1.0}, files={"task.json": b'{"step": 100}'})
    record = read_records(honest, None).records[DIGEST]
    assert (record.status, dict(record.metrics)) == ("missing", {})
    assert "it is left out" in record.notes[0]


@pytest.mark.parametrize(
    ("tags", "status", "said"),
    [
        ({"dfm.status": "Done"}, "running", "is 'Done', which the launcher never writes; it counts as running"),
        ({"dfm.status": "done"}, "failed", "is 'done', MLflow's own status FAILED: one of them was changed by hand"),
        ({"dfm.status": "done", "dfm.kind": "train"}, "failed", "dfm.kind of run"),
    ],
)
def test_a_tag_changed_by_hand_is_said_and_not_believed(
    database: Database, tags: dict[str, str], status: str, said: str
) -> None:
    run_id = database.run(DIGEST, {"fd": 1.0}, status="failed" if status == "failed" else "running")
    for key, value in tags.items():
        database.client.set_tag(run_id, key, value)
    page, _ = report(make_plan(uri=database.uri))
    assert read_records(make_plan(uri=database.uri), None).records[DIGEST].status == status
    assert said in page


def publish(root: Path, uri: str) -> list[str]:
    (root / "plans").mkdir()
    (root / "plans/small.json").write_text(json.dumps(plan_document(uri)))
    (root / "small.yaml").write_text("name: small\n")
    return [str(root / "small.yaml"), "--storage", str(root)]


@pytest.fixture
def silent_server() -> Iterator[int]:
    """Takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.fixture
def failing_server() -> Iterator[int]:
    """Answers every request with an error of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops")

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        thread.join()


def test_a_server_that_never_answers_ends_in_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, silent_server: int
) -> None:
    monkeypatch.setattr("analysis.tracking.address._CONNECT_SECONDS", 0.5)
    began = time.monotonic()
    assert main(publish(tmp_path, f"http://127.0.0.1:{silent_server}")) == 2
    assert time.monotonic() - began < 30
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"tracking database http://127.0.0.1:{silent_server} (named in the plan): " in said
    assert "timed out" in said
    assert not (tmp_path / "reports").exists()


def test_a_server_that_fails_ends_in_one_line_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failing_server: int
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    assert main(publish(tmp_path, f"http://127.0.0.1:{failing_server}")) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: tracking database http://127.0.0.1:{failing_server}")
    assert "500" in said
    assert "Traceback" not in said
