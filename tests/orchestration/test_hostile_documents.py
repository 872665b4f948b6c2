"""Damaged or hostile JSON under a storage root ends in no traceback: it counts as not there, or is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.errors import UserError as AnalysisError
from analysis.plan.read import read_plan
from orchestration.artifacts.task_record import TaskRecord, read_record, write_record
from orchestration.control.heartbeat import DamagedHeartbeatError, read_heartbeat
from orchestration.control.lease import Lease, lease_in_force
from orchestration.control.stop_request import read_stop_request
from orchestration.plan.published import UnreadablePlanError, read_published
from orchestration.storage.layout import TaskPaths, heartbeat_file, lease_file, plan_file, stop_file
from orchestration.storage.store import MANIFEST, Store

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
