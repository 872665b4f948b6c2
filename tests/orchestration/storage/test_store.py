"""The store's contract, over every kind of file system: whole or not at all, checksums on every read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest

from orchestration.storage.retry import RetryPolicy
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store
from tests.support.s3 import environment, make_bucket, options, rclone_server, variables

PATIENCE = RetryPolicy(call_seconds=20.0, retry_seconds=0.0)
"""A server on loopback that needs a second try is at fault."""


@pytest.fixture(params=["local", "memory", "s3", pytest.param("rclone", marks=pytest.mark.slow)])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield Store(str(tmp_path / "store"))
    elif request.param == "memory":
        made = Store(f"memory://{uuid.uuid4().hex}", retry_policy=PATIENCE)
        yield made
        made.remove("")
    elif request.param == "rclone":
        folder = tmp_path / "served"
        folder.mkdir()
        with rclone_server(folder) as endpoint, environment(variables(endpoint)):
            yield Store(f"s3://{make_bucket(endpoint)}/dfm", retry_policy=PATIENCE)
    else:
        endpoint = request.getfixturevalue("s3_endpoint")
        with environment(variables(endpoint)):
            yield Store(f"s3://{make_bucket(endpoint)}/dfm", retry_policy=PATIENCE)


def publish(store: Store, tmp_path: Path, content: bytes = b"weights") -> None:
    local = tmp_path / "a.bin"
    local.write_bytes(content)
    store.put(local, "art/a.bin")
    store.publish("art", [FileEntry.of(local)], {"step": 3})


def test_a_range_of_a_file_is_read(any_store: Store) -> None:
    any_store.write("file", bytes(range(100)))
    assert any_store.read_range("file", 0, 3) == bytes((0, 1, 2))
    assert any_store.read_range("file", 40, 60) == bytes(range(40, 60))
    assert any_store.read_range("file", 98, 200) == bytes((98, 99))
    with pytest.raises(FileNotFoundError):
        any_store.read_range("other", 0, 1)


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


@pytest.mark.proves(27)
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
    with pytest.raises(DamagedArtifactError, match="leads elsewhere"), any_store.fetched("art"):
        pass


@pytest.mark.proves(22)
def test_a_file_is_created_once_whoever_tries(any_store: Store) -> None:
    assert any_store.create("leases/1", b"first")
    assert not any_store.create("leases/1", b"second")
    assert any_store.read("leases/1") == b"first"
    any_store.remove("leases/1")
    assert any_store.create("leases/1", b"third")
    assert any_store.names("leases") == ["1"]


def test_removing_what_is_gone_is_no_mistake(any_store: Store) -> None:
    any_store.remove("nothing/here")
    assert any_store.names("nothing") == []


@pytest.mark.parametrize("path", ["../outside", "a/../../outside", "/outside", "a/.."])
def test_a_path_cannot_leave_the_store(any_store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="is not a path below"):
        any_store.write(path, b"")


def test_what_is_not_there_is_not_found(any_store: Store) -> None:
    any_store.write("there/file", b"x")
    with pytest.raises(FileNotFoundError):
        any_store.read("there/another")
    assert not any_store.exists("there/another")
    assert any_store.exists("there/file")
    assert any_store.names("there/file") == []


def test_a_listing_shows_what_was_written_after_the_one_before(any_store: Store) -> None:
    fsspec.filesystem(any_store.root.partition("://")[0] if "://" in any_store.root else "file").clear_instance_cache()
    another = Store(
        any_store.root, any_store.options, any_store.retry_policy
    )  # a client of its own, as another process
    any_store.write("list/a", b"x")
    assert another.names("list") == ["a"]
    any_store.write("list/b", b"x")
    any_store.write("list/deep/c", b"x")
    assert another.names("list") == ["a", "b", "deep"]
    any_store.remove("list/a")
    assert another.names("list") == ["b", "deep"]
    assert not another.exists("list/a")
    any_store.remove("list")
    assert another.names("list") == []


def test_more_objects_than_a_page_of_a_listing_are_listed_and_removed(any_store: Store) -> None:
    names = [f"{number:04d}" for number in range(1100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: any_store.write(f"many/{name}", b""), names))
    assert any_store.names("many") == names
    any_store.remove("many")
    assert any_store.names("many") == []


def test_a_file_of_several_parts_arrives_whole(any_store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * (101 * 4096)  # 106 MB: S3 clients send it in parts
    publish(any_store, tmp_path, content)
    with any_store.fetched("art") as (path,):
        assert path.read_bytes() == content


def test_an_artifact_that_is_removed_is_gone_with_its_files(any_store: Store, tmp_path: Path) -> None:
    publish(any_store, tmp_path)
    any_store.remove_artifact("art")
    assert any_store.manifest("art") is None
    assert any_store.names("art") == []


def test_no_partial_file_is_left_behind(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.write("a", b"x")
    publish(store, tmp_path)
    assert not list(tmp_path.rglob("*.partial"))


def test_server_and_credentials_can_be_options(s3_endpoint: str, tmp_path: Path) -> None:
    with environment({}):
        store = Store(f"s3://{make_bucket(s3_endpoint)}/dfm", options(s3_endpoint), PATIENCE)
        publish(store, tmp_path)
        with store.fetched("art") as files:
            assert [path.read_bytes() for path in files] == [b"weights"]


def test_the_tree_has_every_file_with_its_size_and_every_directory(any_store: Store) -> None:
    assert any_store.tree() == {}
    for name, content in (("top", b"1"), ("a/one", b"22"), ("a/deep/down/two", b"333"), ("b/empty", b"")):
        any_store.write(name, content)
    assert any_store.tree() == {
        "top": 1,
        "a": None,
        "a/one": 2,
        "a/deep": None,
        "a/deep/down": None,
        "a/deep/down/two": 3,
        "b": None,
        "b/empty": 0,
    }
    any_store.write("a/late", b"4444")  # listings are not kept
    assert any_store.tree()["a/late"] == 4


def test_a_fetched_file_is_local_and_whole(any_store: Store, tmp_path: Path) -> None:
    any_store.write("a/one", b"content")
    assert any_store.fetch("a/one", tmp_path, 7).read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        any_store.fetch("a/none", tmp_path, 7).read_bytes()
