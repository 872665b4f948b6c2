"""MLflow read again: what was changed meanwhile is seen, the rest is not asked for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.records.read import read_records
from analysis.records.record import Reading
from analysis.tracking import cache
from analysis.tracking import changed_runs as changes
from analysis.tracking import mlflow_api as server
from analysis.tracking.mlflow_api import RefusedError
from analysis.tracking.run import Run
from tests.support.plans import Database, evaluate_digest, make_plan, train_digest

TRAIN, EVALUATE, LAST = train_digest("DFM"), evaluate_digest("DFM", 200), evaluate_digest("Flow Matching", 200)
FINAL = (TRAIN, EVALUATE, LAST, "a", "b", "c")


@pytest.fixture(autouse=True)
def _cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache keeps whatever is read."""
    monkeypatch.setattr(cache, "WORTH_CACHING", 1)
    monkeypatch.setattr(changes, "_TILE", 2)
    monkeypatch.setattr(changes, "_CONFIRMED", 1)
    monkeypatch.setenv("DFM_ANALYSIS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the runs that are sent."""
    found: list[str] = []
    original = server.TrackingClient._search

    def search(self: server.TrackingClient, *asked: Any, **more: Any) -> list[Run]:
        runs = original(self, *asked, **more)
        found.extend(run.run_id for run in runs)
        return runs

    monkeypatch.setattr(server.TrackingClient, "_search", search)
    return found


def fill(database: Database) -> dict[str, str]:
    """Runs by name: what a sweep and people leave."""
    runs = {digest: database.run(digest, {"fd": 2.0, "loss": float("inf")}) for digest in (TRAIN, EVALUATE, LAST)}
    runs |= {name: database.run(f"evaluate {name}", {"fd": float("nan")}) for name in ("a", "b", "c")}
    runs["odd"] = database.run("o'dd OR", {"fd": 3.0})
    runs["failed"] = database.run("evaluate failed", status="failed")
    runs["running"] = database.run("evaluate running", status="running")
    runs["deleted"] = database.run("evaluate deleted")
    database.client.delete_run(runs["deleted"])
    return runs


def comparable(run: Run) -> str:
    """A run in an order of its own; NaN equals NaN in its text."""
    fields = run.run_id, run.name, run.status, run.start_time, run.end_time, run.artifact_uri, run.deleted
    return repr((fields, sorted(run.tags.items()), sorted(run.metrics.items())))


def text(reading: Reading) -> tuple[list[str], str, tuple[str, ...]]:
    runs = sorted(map(comparable, reading.runs))
    return runs, repr(sorted(reading.records.items())), reading.notes


def anew(database: Database, monkeypatch: pytest.MonkeyPatch) -> Reading:
    with monkeypatch.context() as patch:
        patch.setenv("DFM_ANALYSIS_CACHE", "off")
        return read_records(make_plan(uri=database.uri), None)


def test_of_final_runs_one_after_the_other_is_sent_again(
    database: Database, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = fill(database)
    first = read_records(make_plan(uri=database.uri), None)
    assert sorted(sent) == sorted(runs.values())
    final = {runs[name] for name in FINAL}
    again: list[str] = []
    for _ in range(len(final)):
        sent.clear()
        assert text(read_records(make_plan(uri=database.uri), None)) == text(first) == text(anew(database, monkeypatch))
        del sent[-len(runs) :]  # of the reading anew
        assert set(sent) - final == {runs[name] for name in ("failed", "running", "deleted", "odd")}
        again += [run for run in sent if run in final]
    assert sorted(again) == sorted(final)


def remove_for_good(database: Database, run_id: str) -> None:
    with sqlite3.connect(database.uri.removeprefix("sqlite:///")) as opened:
        for table in ("tags", "metrics", "latest_metrics", "runs"):
            opened.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (run_id,))


def change_tag(key: str, value: str, run: str = EVALUATE) -> Callable[[Database, dict[str, str]], None]:
    return lambda database, runs: database.client.set_tag(runs[run], key, value)


def remove_tag(key: str) -> Callable[[Database, dict[str, str]], None]:
    return lambda database, runs: database.client.delete_tag(runs[EVALUATE], key)


def take_up(database: Database, runs: dict[str, str]) -> None:
    database.client.update_run(runs[EVALUATE], status="RUNNING")


def finish_again(database: Database, runs: dict[str, str]) -> None:
    database.client.log_metric(runs[EVALUATE], "fd", 7.0)
    database.client.set_terminated(runs[EVALUATE], "FINISHED", end_time=database.tick() + 10**7)


def finish(database: Database, runs: dict[str, str]) -> None:
    database.client.set_tag(runs["running"], "dfm.status", "done")
    database.client.set_terminated(runs["running"], "FINISHED", end_time=database.tick())


def start_anew(database: Database, _: dict[str, str]) -> None:
    database.run(EVALUATE, {"fd": 1.0})


def start_by_a_slow_clock(database: Database, _: dict[str, str]) -> None:
    database._clock -= 10**9
    database.run(EVALUATE, {"fd": 1.0})


def end_together_with_others(database: Database, runs: dict[str, str]) -> None:
    for name in ("a", "b", "c"):
        end = database.client.get_run(runs[name]).info.end_time
        database.client.set_terminated(database.run("evaluate new"), "FINISHED", end_time=end)


def start_of_a_new_kind(database: Database, _: dict[str, str]) -> None:
    database.run("reference", {"seconds": 1.0})


def start_of_a_kind_with_quotes(database: Database, _: dict[str, str]) -> None:
    database.run("odd' OR", {"seconds": 1.0})


CHANGES: dict[str, Callable[[Database, dict[str, str]], None]] = {
    "deleted": lambda database, runs: database.client.delete_run(runs[EVALUATE]),
    "deleted for good": lambda database, runs: remove_for_good(database, runs["deleted"]),
    "restored": lambda database, runs: database.client.restore_run(runs["deleted"]),
    "status": change_tag("dfm.status", "failed"),
    "no status": remove_tag("dfm.status"),
    "kind": change_tag("dfm.kind", "train"),
    "another kind": change_tag("dfm.kind", "o'dd"),
    "no kind": remove_tag("dfm.kind"),
    "no digest": remove_tag("dfm.digest"),
    "of a run that runs": change_tag("dfm.digest", EVALUATE, "running"),
    "of a run that failed": change_tag("failure", "another", "failed"),
    "mlflow's status": lambda database, runs: database.client.set_terminated(runs[EVALUATE], "KILLED"),
    "taken up": take_up,
    "finished again": finish_again,
    "finished": finish,
    "new": start_anew,
    "new, slow clock": start_by_a_slow_clock,
    "new, at a border": end_together_with_others,
    "new kind": start_of_a_new_kind,
    "odd kind": start_of_a_kind_with_quotes,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_changed_meanwhile_is_seen(
    database: Database, monkeypatch: pytest.MonkeyPatch, change: Callable[[Database, dict[str, str]], None]
) -> None:
    runs = fill(database)
    first = read_records(make_plan(uri=database.uri), None)
    change(database, runs)
    with monkeypatch.context() as patch:
        patch.setattr(changes, "_CONFIRMED", 0)
        patch.setattr(server.TrackingClient, "runs", lambda *_, **__: pytest.fail("all runs are asked for"))
        again = read_records(make_plan(uri=database.uri), None)
    assert text(again) == text(anew(database, monkeypatch)) != text(first)


def replace_digest(database: Database, run_id: str) -> None:
    database.client.set_tag(run_id, "dfm.digest", "another")


def test_a_run_that_was_deleted_and_then_for_good_does_not_come_back(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "_CONFIRMED", 0)
    runs = fill(database)
    read_records(make_plan(uri=database.uri), None)
    database.client.delete_run(runs[EVALUATE])
    assert text(read_records(make_plan(uri=database.uri), None)) == text(anew(database, monkeypatch))
    remove_for_good(database, runs[EVALUATE])
    assert text(read_records(make_plan(uri=database.uri), None)) == text(anew(database, monkeypatch))


@pytest.mark.parametrize("change", [remove_for_good, replace_digest])
def test_what_no_question_finds_is_seen_when_its_turn_comes(
    database: Database, monkeypatch: pytest.MonkeyPatch, change: Callable[[Database, str], None]
) -> None:
    runs = fill(database)
    read_records(make_plan(uri=database.uri), None)
    change(database, runs[EVALUATE])
    readings = [text(read_records(make_plan(uri=database.uri), None)) for _ in range(6)]
    assert readings[-1] == text(anew(database, monkeypatch))


@pytest.mark.parametrize("change", [remove_for_good, replace_digest])
def test_one_run_that_is_another_makes_all_be_read(
    database: Database, monkeypatch: pytest.MonkeyPatch, change: Callable[[Database, str], None]
) -> None:
    runs = fill(database)
    read_records(make_plan(uri=database.uri), None)
    for name in FINAL:
        change(database, runs[name])
    assert text(read_records(make_plan(uri=database.uri), None)) == text(anew(database, monkeypatch))


def test_a_server_that_was_set_up_anew_is_not_taken_for_the_old_one(database: Database, tmp_path: Path) -> None:
    fill(database)
    assert read_records(make_plan(uri=database.uri), None).records
    with sqlite3.connect(database.uri.removeprefix("sqlite:///")) as opened:
        opened.execute("UPDATE experiments SET creation_time = creation_time + 1")
    read_records(make_plan(uri=database.uri), None)
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_server_that_cannot_search_so_is_read_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(database)
    first = read_records(make_plan(uri=database.uri), None)
    monkeypatch.setattr(changes, "_DONE", "tags.`a` IS UNHEARD OF")
    assert text(read_records(make_plan(uri=database.uri), None)) == text(first)
    assert "the server refuses to search for changed ones" in caplog.text
    with pytest.raises(RefusedError, match="Invalid"):
        server.TrackingClient(database.uri).search("1", "tags.`a` IS UNHEARD OF")
