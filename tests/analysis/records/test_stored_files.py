"""Records are read again only where they changed; packed and unpacked they are the same."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from analysis.records import record_file
from analysis.records.from_storage import read_record_files
from analysis.records.record_file import pack_record, unpack_record
from analysis.records.stored_files import StorageRoot, StoredFiles, TaskFile
from analysis.tracking import cache
from tests.analysis.records.test_from_storage import write
from tests.support.plans import evaluate_digest, make_plan, png, train_digest

TRAIN, EVALUATE = train_digest("DFM"), evaluate_digest("DFM", 200)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that keeps whatever is read."""
    monkeypatch.setattr(cache, "WORTH_CACHING", 1)
    monkeypatch.setenv("DFM_ANALYSIS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that are read of a remote store, which says the checksum of its files."""
    paths: list[str] = []
    read, find = MemoryFileSystem.cat_file, MemoryFileSystem.find

    def read_counted(self: MemoryFileSystem, path: str, **more: Any) -> Any:
        paths.append(path)
        return read(self, path, **more)

    def find_with_marks(self: MemoryFileSystem, path: str, **_: Any) -> Any:
        return {name: {**self.info(name), "ETag": hash(read(self, name))} for name in find(self, path)}

    monkeypatch.setattr(MemoryFileSystem, "cat_file", read_counted)
    monkeypatch.setattr(MemoryFileSystem, "find", find_with_marks)
    return paths


@pytest.fixture(params=["local", "remote"])
def store(request: pytest.FixtureRequest, tmp_path: Path, fetched: list[str]) -> StorageRoot:
    write(tmp_path / "store", TRAIN, {"x": 1.0}, curve=[{"step": 200.0, "loss": 5.0}])
    write(tmp_path / "store", EVALUATE, {"fd": 1.0}, {"samples.png": png()})
    if request.param == "local":
        return StorageRoot(str(tmp_path / "store"))
    bucket = f"/{tmp_path.name}"
    fsspec.filesystem("memory").put(str(tmp_path / "store/results"), f"{bucket}/results", recursive=True)
    fetched.clear()
    return StorageRoot(f"memory:/{bucket}")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Records that are parsed, not read from the cache."""
    contents: list[bytes] = []
    monkeypatch.setattr(
        "analysis.records.from_storage.pack_record", lambda data: contents.append(data) or pack_record(data)
    )
    return contents


def read(store: StorageRoot) -> Any:
    return read_record_files(make_plan(uri="sqlite:////nowhere/m.db"), store)


def change(store: StorageRoot, digest: str, **fields: Any) -> None:
    path = f"{store.root}/results/{digest}/result.json"
    with fsspec.open(path) as file:
        document = json.load(file)
    with fsspec.open(path, "wt") as file:
        json.dump({**document, **fields}, file)


@pytest.mark.usefixtures("folder")
def test_a_record_is_parsed_again_only_if_it_changed(
    store: StorageRoot, parsed: list[bytes], fetched: list[str]
) -> None:
    first = read(store)
    assert len(parsed) == 2
    fetched.clear()
    assert read(store) == first
    assert (len(parsed), fetched) == (2, [])
    change(store, TRAIN, metrics={"x": 12345.0})
    again = read(store)
    assert (len(parsed), again[TRAIN].metrics["x"]) == (3, 12345.0)
    assert again[EVALUATE] == first[EVALUATE]


@pytest.mark.usefixtures("folder")
def test_a_record_of_the_same_size_is_parsed_again_after_a_change(tmp_path: Path, parsed: list[bytes]) -> None:
    write(tmp_path, EVALUATE, {"fd": 1.0})
    path = tmp_path / "results" / EVALUATE / "result.json"
    assert read(StorageRoot(str(tmp_path)))[EVALUATE].metrics["fd"] == 1.0
    path.write_text(path.read_text().replace('"fd": 1.0', '"fd": 7.0'))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))
    assert read(StorageRoot(str(tmp_path)))[EVALUATE].metrics["fd"] == 7.0
    assert len(parsed) == 2


@pytest.mark.usefixtures("folder")
def test_a_record_that_was_removed_does_not_come_from_the_cache(store: StorageRoot) -> None:
    assert set(read(store)) == {TRAIN, EVALUATE}
    filesystem, path = fsspec.core.url_to_fs(f"{store.root}/results/{TRAIN}/result.json")
    filesystem.rm(path)
    assert set(read(store)) == {EVALUATE}


def test_a_small_sweep_is_read_without_listing_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: StorageRoot
) -> None:
    monkeypatch.setenv("DFM_ANALYSIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: pytest.fail("listed"))
    assert set(read(store)) == {TRAIN, EVALUATE}
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("folder")
def test_a_store_that_does_not_say_when_a_file_changed_is_read_each_time() -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/unmarked/results/a/result.json", b"1")
    found = []
    for content in (b"1", b"2"):
        files.pipe("/unmarked/results/a/result.json", content)
        opened = StoredFiles(StorageRoot("memory://unmarked"), {"a"}, "x")
        found += opened.read([TaskFile("a", "result.json"), TaskFile("a", "absent")]).values()
        opened.save()
    assert found == [b"1", b"2"]


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(2**40), 2**40)
rows = st.lists(
    st.fixed_dictionaries(
        {"step": st.integers(0, 2**40).map(float)},
        optional=dict.fromkeys(("loss", "loss_stage_0_t1of8", "lr"), numbers),
    ),
    max_size=6,
)


@given(rows, st.sampled_from([{}, {"curve": []}, {"curve": [{"step": 1}]}, {"a": 'text "curve": [ ]'}]))
def test_a_packed_record_is_the_same_whoever_parses_it(curve: list[dict[str, float]], about: dict[str, Any]) -> None:
    document = {"digest": "d", "curve": curve, "about": about, "metrics": {"x": math.nan}}
    content = unpack_record(pack_record(json.dumps(document, sort_keys=True).encode()))
    expected = record_file._curves(json.loads(json.dumps(curve)))  # where NaN has no sign
    assert content.curves.keys() == expected.keys()
    for name, history in expected.items():
        assert content.curves[name].to_bytes() == history.to_bytes()
    del document["curve"]
    assert repr(sorted(content.fields.items())) == repr(sorted(document.items()))


def test_the_curve_of_an_ordinary_record_is_parsed_by_arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_file, "_curves", lambda _: pytest.fail("by json"))
    curve = [{"step": 1.0, "loss": 0.1}, {"step": 2.0, "loss": 0.2, "loss_stage_0_t1of8": 3.0}]
    content = unpack_record(pack_record(json.dumps({"curve": curve}).encode()))
    assert {name: list(history) for name, history in content.curves.items()} == {
        "loss": [(1, 0.1), (2, 0.2)],
        "loss_stage_0_t1of8": [(2, 3.0)],
    }
