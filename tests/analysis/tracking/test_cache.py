"""What was read once is not read again, and what is kept is never believed when it should not be."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from analysis.records.read import read_records
from analysis.tracking import cache as cache_module
from analysis.tracking import cached_run_data
from analysis.tracking import mlflow_api as server
from analysis.tracking.cache import Cache, Item, cache_folder
from analysis.tracking.run import HistoryRequest
from tests.support.plans import Database, evaluate_digest, make_plan, png, train_digest

TRAIN = train_digest("DFM")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps whatever is read."""
    monkeypatch.setattr(cache_module, "WORTH_CACHING", 1)
    monkeypatch.setenv("DFM_ANALYSIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the runs whose histories MLflow is asked for."""
    names: list[str] = []
    original = server.TrackingClient.histories

    def histories(self: server.TrackingClient, wanted: Sequence[HistoryRequest]) -> Any:
        names.extend(item.run.run_id for item in wanted)
        return original(self, wanted)

    monkeypatch.setattr(server.TrackingClient, "histories", histories)
    return names


def train(database: Database, digest: str = TRAIN, status: str = "done") -> str:
    run_id = database.run(digest, status=status)
    database.curve(run_id, "loss", [(10, 5.0), (20, 4.0)])
    return run_id


def curve(database: Database) -> list[tuple[int, float]]:
    return list(read_records(make_plan(uri=database.uri), None).records[TRAIN].curves["loss"])


def test_a_history_is_read_once(database: Database, folder: Path, asked: list[str]) -> None:
    train(database)
    assert curve(database) == [(10, 5.0), (20, 4.0)]
    assert len(asked) == 1
    assert curve(database) == [(10, 5.0), (20, 4.0)]
    assert len(asked) == 1
    assert len(list(folder.iterdir())) == 1


def test_a_run_that_goes_on_is_read_again(database: Database, folder: Path, asked: list[str]) -> None:
    run_id = train(database, status="running")
    assert curve(database) == [(10, 5.0), (20, 4.0)]
    database.curve(run_id, "loss", [(10, 1.0)])
    assert curve(database) == [(10, 1.0), (20, 4.0)]
    assert not folder.exists()
    assert asked


@pytest.mark.usefixtures("folder")
def test_a_run_that_a_later_attempt_took_up_is_read_again(database: Database) -> None:
    run_id = train(database)
    assert curve(database) == [(10, 5.0), (20, 4.0)]
    database.curve(run_id, "loss", [(10, 1.0)])  # the last value stays
    database.client.set_terminated(run_id, "FINISHED", end_time=database.tick())
    assert curve(database) == [(10, 1.0), (20, 4.0)]


@pytest.mark.usefixtures("folder")
def test_a_tag_changed_by_hand_makes_a_run_be_read_again(database: Database, asked: list[str]) -> None:
    run_id = train(database)
    curve(database)
    num_asked = len(asked)
    database.client.set_tag(run_id, "dfm.status", "failed")
    curve(database)
    assert len(asked) > num_asked


def test_what_is_kept_of_runs_that_are_gone_goes(database: Database, folder: Path) -> None:
    train(database)
    read_records(make_plan(uri=database.uri), None)
    (path,) = folder.iterdir()
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE items SET run = 'gone', checksum = 0 WHERE name = 'curve/loss'")
    read_records(make_plan(uri=database.uri), None)  # thrown away, and made again
    with sqlite3.connect(path) as opened:
        assert opened.execute("SELECT count(*) FROM items WHERE run = 'gone'").fetchone() == (0,)
    write(folder, [Item("a", "x", "s", b"1"), Item("b", "x", "s", b"2")], ["a", "b"])
    write(folder, [Item("c", "x", "s", b"3")], ["b", "c"])
    assert {item.run for item in Cache(folder, "uri", "1").of_name("x")} == {"b", "c"}
    write(folder, [], ["c"])
    assert {item.run for item in Cache(folder, "uri", "1").of_name("x")} == {"c"}


def write(folder: Path, items: Sequence[Item], runs: Sequence[str]) -> Path:
    """The file of a cache, once a reading added the items."""
    cache = Cache(folder, "uri", "1")
    for item in items:
        cache.add(item)
    cache.save(runs)
    assert cache.path is not None
    return cache.path


def spoil_text(path: Path) -> None:
    path.write_text("hello")


def spoil_tail(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_value(path: Path) -> None:
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE items SET data = zeroblob(length(data))")


def spoil_state(path: Path) -> None:
    with sqlite3.connect(path) as opened:
        opened.execute("UPDATE items SET state = replace(state, 'done', 'failed')")


def spoil_identity(path: Path) -> None:
    path.write_bytes(write(path.parent, [Item("a", "x", "s", b"1")], ["a"]).read_bytes())


def spoil_version(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module, "_FORMAT", "dfm analysis, format 0")
        path.unlink()
        shutil.move(write(path.parent, [Item("a", "x", "s", b"1")], ["a"]), path)


def spoil_tables(path: Path) -> None:
    with sqlite3.connect(path) as opened:
        opened.execute("DROP TABLE items")


@pytest.mark.parametrize(
    "spoil", [spoil_text, spoil_tail, spoil_value, spoil_state, spoil_identity, spoil_version, spoil_tables]
)
def test_a_damaged_or_foreign_cache_is_thrown_away_and_said(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture, spoil: Any
) -> None:
    train(database)
    expected = curve(database)
    (path,) = folder.iterdir()
    assert not caplog.text
    spoil(path)
    assert curve(database) == expected
    assert f"{path}: " in caplog.text
    assert "it is thrown away and everything is read again" in caplog.text
    caplog.clear()
    assert curve(database) == expected
    assert not caplog.text


def test_a_cache_that_cannot_be_written_costs_time_alone(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where a folder should be")
    train(database)
    assert curve(database) == [(10, 5.0), (20, 4.0)]
    assert "cannot be written" in caplog.text


@pytest.mark.usefixtures("folder")
def test_files_over_the_api_are_kept_with_the_knowledge_of_absent_ones(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = evaluate_digest("DFM", 200)
    database.run(digest, {"fd": 1.0}, files={"samples.png": png()})
    monkeypatch.setattr(cached_run_data, "local_files", lambda *_: None)
    assert read_records(make_plan(uri=database.uri), None).records[digest].image == png()
    refuse = lambda _, wanted: pytest.fail("asked again") if wanted else iter(())  # noqa: E731
    monkeypatch.setattr(server.TrackingClient, "files", refuse)
    again = read_records(make_plan(uri=database.uri), None).records[digest]
    assert (again.image, again.provenance) == (png(), {})


def test_a_small_experiment_leaves_no_cache(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DFM_ANALYSIS_CACHE", str(tmp_path / "cache"))
    train(database)
    read_records(make_plan(uri=database.uri), None)
    assert not (tmp_path / "cache").exists()


def test_the_folder_is_the_users_unless_it_is_named_or_turned_off() -> None:
    assert cache_folder({"HOME": "/home/me"}) == Path("/home/me/.cache/dfm-analysis")
    assert cache_folder({"HOME": "/home/me", "XDG_CACHE_HOME": "/c"}) == Path("/c/dfm-analysis")
    assert cache_folder({"HOME": "/home/me", "DFM_ANALYSIS_CACHE": "/x"}) == Path("/x")
    assert cache_folder({"HOME": "/home/me", "DFM_ANALYSIS_CACHE": "off"}) is None
    assert cache_folder({}) is None


@pytest.mark.parametrize("change", ["name = 'y'", "run = 'b'", "state = 't'", "data = zeroblob(1)", "data = '1'"])
def test_an_item_that_was_changed_is_refused(folder: Path, caplog: pytest.LogCaptureFixture, change: str) -> None:
    assert list(Cache(folder, "uri", "1").of_name("x")) == []
    path = write(folder, [Item("a", "x", "s", b"1")], ["a"])
    assert list(Cache(folder, "uri", "1").of_name("x")) == [Item("a", "x", "s", b"1")]
    with sqlite3.connect(path) as opened:
        opened.execute(f"UPDATE items SET {change}")
    assert list(Cache(folder, "uri", "1").of_name("x")) == []
    assert "damaged (at " in caplog.text
    assert not path.exists()
