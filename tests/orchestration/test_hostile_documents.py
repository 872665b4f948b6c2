"""Damaged or hostile JSON under a storage root ends in no traceback: it counts as not there, or is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.errors import UserError as AnalysisError
from analysis.plan.read import read_plan
from analysis.plan.sweep_file import read_sweep_file
from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.commands.garbage import collect_garbage
from orchestration.common.errors import UserError
from orchestration.control.heartbeat import DamagedHeartbeatError, read_heartbeat
from orchestration.control.lease import Lease, lease_in_force
from orchestration.control.stop_request import read_stop_request
from orchestration.parsing.yaml_file import read_yaml
from orchestration.plan.published import UnreadablePlanError, read_published
from orchestration.storage.layout import TaskPaths, heartbeat_file, lease_file, plan_file, stop_file
from orchestration.storage.store import MANIFEST, DamagedArtifactError, FileEntry, Store

DIGEST = "a" * 40
HOSTILE = {
    "brackets": b"[" * 200_000,
    "objects": b'{"a": ' * 200_000,
    "infinite": b'{"format": Infinity, "digest": Infinity, "beat": Infinity}',
    "list": b"[1, 2]",
    "number": b"7",
    "empty": b"",
    "cut": b'{"digest": "aa',
    "binary": b"\xff\xfe\x00\x01",
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def content(request: pytest.FixtureRequest) -> bytes:
    return bytes(request.param)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path))


def test_a_record_is_not_there(store: Store, content: bytes) -> None:
    store.write(TaskPaths(DIGEST).result, content)
    assert read_record(store, DIGEST) is None


def test_a_record_of_another_task_is_not_there(store: Store) -> None:
    write_record(store, TaskRecord("b" * 40, "probe", {}, 1.0))
    store.write(TaskPaths(DIGEST).result, store.read(TaskPaths("b" * 40).result))
    assert read_record(store, DIGEST) is None
    assert read_record(store, "b" * 40) is not None


def test_an_artifact_with_such_a_manifest_is_not_published(store: Store, content: bytes) -> None:
    store.write(f"snapshots/{DIGEST}/{MANIFEST}", content)
    assert store.manifest(f"snapshots/{DIGEST}") is None


def test_a_heartbeat_is_named_as_damaged(store: Store, content: bytes) -> None:
    store.write(heartbeat_file("sweep"), content)
    with pytest.raises(DamagedHeartbeatError):
        read_heartbeat(store, "sweep")


def test_a_heartbeat_of_a_process_that_no_system_has_is_damaged(store: Store) -> None:
    store.write(heartbeat_file("sweep"), b'{"driver": "x", "host": "h", "pid": 1' + b"0" * 30 + b"}")
    with pytest.raises(DamagedHeartbeatError):
        read_heartbeat(store, "sweep")


def test_a_lease_above_ends_ours_whatever_it_says(store: Store, content: bytes) -> None:
    store.write(lease_file("sweep", 2), content)
    assert lease_in_force(store, "sweep", Lease(1, "d", "here", 42)) != Lease(1, "d", "here", 42)


def test_a_stop_request_is_none(store: Store, content: bytes) -> None:
    store.write(stop_file("sweep"), content)
    assert read_stop_request(store, "sweep") is None


def test_a_plan_is_named_as_unreadable(store: Store, content: bytes, tmp_path: Path) -> None:
    store.write(plan_file("sweep"), content)
    with pytest.raises(UnreadablePlanError):
        read_published(store, "sweep")
    with pytest.raises(AnalysisError):
        read_plan(str(tmp_path), "sweep")


def put_fifo(path: Path) -> None:
    os.mkfifo(path)


def put_folder(path: Path) -> None:
    path.mkdir()


def put_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def put_file_without_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room


@pytest.mark.timeout(60)
@pytest.mark.parametrize("put", [put_fifo, put_folder, put_link_to_device, put_file_without_end])
def test_what_is_no_small_regular_file_is_never_read(put: Callable[[Path], None], store: Store, tmp_path: Path) -> None:
    places = {
        "record": TaskPaths(DIGEST).result,
        "manifest": f"snapshots/{DIGEST}/{MANIFEST}",
        "heartbeat": heartbeat_file("sweep"),
        "lease": lease_file("sweep", 1),
        "request": stop_file("sweep"),
        "plan": plan_file("sweep"),
        "file": "sweep.yaml",
    }
    for place in places.values():
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        put(tmp_path / place)
    own = Lease(1, "d", "here", 42)
    assert read_record(store, DIGEST) is None
    assert store.manifest(f"snapshots/{DIGEST}") is None
    assert lease_in_force(store, "sweep", own) not in (None, own)
    assert read_stop_request(store, "sweep") is None
    for call, error in (
        (lambda: read_heartbeat(store, "sweep"), DamagedHeartbeatError),
        (lambda: read_published(store, "sweep"), UnreadablePlanError),
        (lambda: collect_garbage(store, confirmed=True), UserError),
        (lambda: read_yaml(tmp_path / "sweep.yaml"), UserError),
        (lambda: read_sweep_file(tmp_path / "sweep.yaml"), AnalysisError),
        (lambda: read_plan(str(tmp_path), "sweep"), AnalysisError),
    ):
        with pytest.raises(error, match=r"no regular file|bytes|directory"):
            call()


@pytest.mark.timeout(60)
def test_a_file_of_an_artifact_that_has_another_size_is_not_hashed(store: Store, tmp_path: Path) -> None:
    store.publish("snapshots/x", [FileEntry("weights", 3, "0" * 64)])
    put_file_without_end(tmp_path / "snapshots" / "x" / "weights")
    with pytest.raises(DamagedArtifactError, match="is not what its manifest says"), store.fetched("snapshots/x"):
        pass
