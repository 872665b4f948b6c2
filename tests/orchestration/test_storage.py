"""The store's contract, over every kind of file system: whole or not at all, checksums on every read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.problems import UserError
from orchestration.storage import DamagedArtifactError, FileEntry, Store, check_writable, resolve_root


@pytest.fixture(params=["local", "memory"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    root = str(tmp_path / "store") if request.param == "local" else f"memory://{uuid.uuid4().hex}"
    made = Store(root)
    yield made
    made.remove("")


def publish(store: Store, tmp_path: Path, content: bytes = b"weights") -> None:
    local = tmp_path / "a.bin"
    local.write_bytes(content)
    store.put(local, "art/a.bin")
    store.publish("art", [FileEntry.of(local)], {"step": 3})


def test_what_is_written_is_read_back(any_store: Store) -> None:
    any_store.write("deep/down/file", b"one")
    any_store.write("deep/down/file", b"two")
    assert any_store.read("deep/down/file") == b"two"
    assert any_store.names("deep/down") == ["file"]


def test_an_artifact_without_manifest_does_not_exist(any_store: Store) -> None:
    any_store.write("art/a.bin", b"half of it")
    assert any_store.manifest("art") is None
    with pytest.raises(FileNotFoundError, match="no artifact"), any_store.fetched("art"):
        pass


def test_a_published_artifact_is_fetched_whole(any_store: Store, tmp_path: Path) -> None:
    publish(any_store, tmp_path)
    manifest = any_store.manifest("art")
    assert manifest is not None
    assert manifest["about"] == {"step": 3}
    with any_store.fetched("art") as files:
        assert [path.read_bytes() for path in files] == [b"weights"]


@pytest.mark.parametrize("damaged", [b"weightz", b"weig", b"", b"weights and more"])
def test_a_changed_file_is_never_used(any_store: Store, tmp_path: Path, damaged: bytes) -> None:
    publish(any_store, tmp_path)
    any_store.write("art/a.bin", damaged)
    with pytest.raises(DamagedArtifactError, match=r"a\.bin is not what its manifest says"), any_store.fetched("art"):
        pass


def test_a_missing_file_is_named(any_store: Store, tmp_path: Path) -> None:
    publish(any_store, tmp_path)
    any_store.remove("art/a.bin")
    with pytest.raises(DamagedArtifactError, match=r"a\.bin is missing"), any_store.fetched("art"):
        pass


@pytest.mark.parametrize("torn", [b"", b"{", b'{"files": 3}', b'{"files": [{"name": "x"}]}', b"\xff\xfe"])
def test_a_torn_manifest_counts_as_not_published(any_store: Store, tmp_path: Path, torn: bytes) -> None:
    publish(any_store, tmp_path)
    any_store.write("art/manifest.json", torn)
    assert any_store.manifest("art") is None


def test_a_file_name_in_a_manifest_cannot_leave_the_artifact(any_store: Store, tmp_path: Path) -> None:
    any_store.write("secret", b"not yours")
    local = tmp_path / "secret"
    local.write_bytes(b"not yours")
    entry = FileEntry.of(local)
    any_store.publish("art", [FileEntry("../secret", entry.num_bytes, entry.sha256)])
    with pytest.raises(DamagedArtifactError, match="is missing"), any_store.fetched("art"):
        pass


def test_removing_what_is_gone_is_no_mistake(any_store: Store) -> None:
    any_store.remove("nothing/here")
    assert any_store.names("nothing") == []


def test_a_path_cannot_leave_the_store(any_store: Store) -> None:
    with pytest.raises(AssertionError, match="leaves the store"):
        any_store.read("../outside")


def test_no_partial_file_is_left_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"x")
    publish(store, tmp_path)
    assert not list(tmp_path.rglob("*.partial"))


def test_storage_that_cannot_be_written_is_a_users_mistake(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        check_writable(Store(str(blocked / "store")))


def test_a_relative_root_is_taken_from_where_the_user_is(tmp_path: Path) -> None:
    assert resolve_root("runs", "runs", {}, tmp_path) == str(tmp_path / "runs")


def test_the_environment_names_the_root_where_the_sweep_does_not(tmp_path: Path) -> None:
    environment = {"DFM_STORAGE_ROOT": "/data/runs"}
    assert resolve_root("runs", "runs", environment, tmp_path) == "/data/runs"
    assert resolve_root("/mine", "runs", environment, tmp_path) == "/mine"


def test_a_relative_root_inside_a_ray_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="relative, but inside a Ray job"):
        resolve_root("runs", "runs", {"RAY_JOB_CONFIG_JSON_ENV_VAR": "{}"}, tmp_path)


def test_a_url_keeps_its_slashes(tmp_path: Path) -> None:
    assert resolve_root("s3://bucket/prefix/", "runs", {}, tmp_path) == "s3://bucket/prefix"


@pytest.mark.parametrize("root", ["s3://", "://", "s3:///"])
def test_a_url_that_names_no_place_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(UserError, match="names no place"):
        resolve_root(root, "runs", {}, tmp_path)


def test_a_tilde_is_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert resolve_root("~/runs", "runs", {}, tmp_path) == "/home/somebody/runs"
