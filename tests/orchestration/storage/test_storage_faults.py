"""A store over an S3 server that fails: within the budget nothing does, after it one clear error."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import pytest
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from orchestration.common.errors import UserError
from orchestration.config.storage import StorageConfig
from orchestration.config.storage_root import check_usable
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import DamagedArtifactError, FileEntry, Store
from tests.support.s3 import SECRET, FaultyProxy, environment, make_bucket, rclone_server, variables

FAULTS = ["busy", "hang", "reset"]


def store_in_new_bucket(endpoint: str, retry_policy: RetryPolicy) -> Store:
    return Store(f"s3://{make_bucket(endpoint)}/dfm", retry_policy=retry_policy)


@pytest.mark.proves(10)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_passing_fault_is_survived(proxy: FaultyProxy, s3_endpoint: str, fault: str, tmp_path: Path) -> None:
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=0.7, retry_seconds=60.0))
    local = tmp_path / "a.bin"
    local.write_bytes(b"weights" * 1000)
    proxy.fault, proxy.faults_left = fault, 4
    store.put(local, "art/a.bin")
    assert proxy.faults_left == 0
    store.publish("art", [FileEntry.of(local)])
    with store.fetched("art") as (path,):
        assert path.read_bytes() == local.read_bytes()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_lasting_fault_is_one_error_that_names_the_place_and_no_secret(
    proxy: FaultyProxy, s3_endpoint: str, fault: str
) -> None:
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=0.5, retry_seconds=1.0))
    proxy.fault = fault
    began = time.monotonic()
    with pytest.raises(StorageUnavailableError) as caught:
        store.write("results/x.json", b"{}")
    assert time.monotonic() - began < 30.0
    assert store.uri("results/x.json") in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.proves(11)
def test_a_server_that_listens_and_takes_no_connection_holds_nobody_for_ever(s3_endpoint: str) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=5) as hole,
        environment(variables(f"http://127.0.0.1:{hole.getsockname()[1]}")),
    ):
        store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=0.5, retry_seconds=1.0))
        for call in (lambda: store.write("a", b"x"), lambda: store.read("a"), lambda: store.names("")):
            began = time.monotonic()
            with pytest.raises(StorageUnavailableError, match="no answer within"):
                call()
            assert time.monotonic() - began < 30.0


@pytest.mark.proves(12)
def test_a_server_that_comes_back_is_found_again(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxies: list[FaultyProxy] = []
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))  # and refuses connections, as nobody listens yet

        def sleep(seconds: float) -> None:
            if not proxies:
                proxies.append(FaultyProxy(s3_endpoint, place))
            time.sleep(seconds)

        clock = SimpleNamespace(monotonic=time.monotonic, sleep=sleep)
        monkeypatch.setattr("orchestration.storage.retry.time", clock)
        with environment(variables(f"http://127.0.0.1:{place.getsockname()[1]}")):
            store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=10.0, retry_seconds=60.0))
            store.write("a", b"x")
            assert len(proxies) == 1, "it was not refused at first"
            assert store.read("a") == b"x"


@pytest.mark.proves(12)
def test_a_body_that_is_cut_off_is_read_again(proxy: FaultyProxy, s3_endpoint: str, tmp_path: Path) -> None:
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=2.0, retry_seconds=60.0))
    local = tmp_path / "a.bin"
    local.write_bytes(bytes(range(256)) * 400)
    store.put(local, "art/a.bin")
    store.publish("art", [FileEntry.of(local)])
    fsspec.filesystem("s3").clear_instance_cache()
    cut = Store(store.root, retry_policy=store.retry_policy)  # with connections of its own
    proxy.fault, proxy.faults_left = "cut", 4
    assert cut.read("art/a.bin") == local.read_bytes()
    with cut.fetched("art") as (path,):
        assert path.read_bytes() == local.read_bytes()
    assert proxy.faults_left < 4


def test_a_missing_file_and_a_missing_bucket_are_told_at_once(proxy: FaultyProxy, s3_endpoint: str) -> None:
    del proxy
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(retry_seconds=600.0))
    began = time.monotonic()
    with pytest.raises(FileNotFoundError, match=store.uri("no/such")):
        store.read("no/such")
    with pytest.raises(FileNotFoundError):
        Store("s3://nobodys-bucket/dfm").write("a", b"x")
    assert time.monotonic() - began < 30.0


@pytest.mark.slow
def test_a_wrong_secret_is_told_at_once_and_not_repeated(tmp_path: Path) -> None:
    with rclone_server(tmp_path) as endpoint:
        bucket = make_bucket(endpoint)
        with environment(variables(endpoint) | {"AWS_SECRET_ACCESS_KEY": "another-s3cret"}):
            began = time.monotonic()
            with pytest.raises(PermissionError, match=f"s3://{bucket}/dfm/a") as caught:
                Store(f"s3://{bucket}/dfm").write("a", b"x")
            assert "another-s3cret" not in str(caught.value)
            assert time.monotonic() - began < 30.0


@pytest.mark.parametrize(
    "ask",
    [
        lambda store, _: store.exists("a"),
        lambda store, _: store.read("a"),
        lambda store, _: store.names(""),
        lambda store, _: store.write("a", b"x"),
        lambda store, _: store.create("a", b"x"),
        lambda store, _: store.num_bytes("a"),
        lambda store, _: store.remove("a"),
        lambda store, path: store.put(path, "a"),
        lambda store, path: store.fetch("a", path.parent, 1),
    ],
    ids=["exists", "read", "names", "write", "create", "num_bytes", "remove", "put", "fetch"],
)
def test_credentials_that_expired_are_told_at_once_by_every_call(
    proxy: FaultyProxy, s3_endpoint: str, tmp_path: Path, ask: Callable[[Store, Path], object]
) -> None:
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=10.0, retry_seconds=600.0))
    (tmp_path / "local").write_bytes(b"x")
    proxy.fault = "expired"
    began = time.monotonic()
    with pytest.raises(PermissionError, match=rf"{store.root}.*The token has run out by now"):
        ask(store, tmp_path / "local")
    assert time.monotonic() - began < 30.0


def test_a_head_that_is_refused_without_a_reason_is_asked_again(proxy: FaultyProxy, s3_endpoint: str) -> None:
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(call_seconds=5.0, retry_seconds=60.0))
    store.write("a", b"x")
    fsspec.filesystem("s3").clear_instance_cache()
    again = Store(store.root, retry_policy=store.retry_policy)  # with connections of its own
    proxy.fault, proxy.faults_left = "bare head", 3  # HEAD and GET, then HEAD again
    assert again.exists("a")
    assert proxy.faults_left == 0


class _StuckFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """One that knows no coroutines and whose first writes do not end, or fail."""

    protocol = "stuck"
    cachable = False
    stuck_writes, failing_writes = 0, 0
    ended = threading.Event()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        if _StuckFileSystem.stuck_writes > 0:
            _StuckFileSystem.stuck_writes -= 1
            self.ended.wait(20)
            return
        if _StuckFileSystem.failing_writes > 0:
            _StuckFileSystem.failing_writes -= 1
            raise OSError(errno.EIO, "bad luck")
        super().pipe_file(path, value, mode)


def test_a_client_without_coroutines_has_deadlines_too() -> None:
    fsspec.register_implementation("stuck", _StuckFileSystem, clobber=True)
    store = Store("stuck://root", retry_policy=RetryPolicy(call_seconds=0.3, retry_seconds=60.0))
    _StuckFileSystem.stuck_writes, _StuckFileSystem.failing_writes = 1, 2
    store.write("a", b"x")
    _StuckFileSystem.ended.set()
    assert store.read("a") == b"x"


class _HungFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """One whose start hangs, as on a machine that waits for somebody's metadata service."""

    protocol = "hung"
    cachable = False
    ended = threading.Event()

    def __init__(self, **options: object) -> None:
        self.ended.wait(20)
        super().__init__(**options)


def test_before_a_sweep_a_client_that_hangs_is_told_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.config.storage_root.PLANNING_SECONDS", 0.6)
    fsspec.register_implementation("hung", _HungFileSystem, clobber=True)
    with pytest.raises(UserError, match=r"cannot read hung://root .*no answer within 0\.6 s"):
        check_usable(StorageConfig("hung://root"), writable=False)
    _HungFileSystem.ended.set()


class _SlowFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """One whose writes arrive late, unless they are given up."""

    protocol = "slow"
    cachable = False
    arrived: ClassVar[list[bytes]] = []
    given_up = threading.Event()

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite") -> None:
        del path, mode
        try:
            await asyncio.sleep(120)
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        self.arrived.append(value)


@pytest.mark.proves(11)
def test_a_call_that_was_given_up_does_not_write_later() -> None:
    fsspec.register_implementation("slow", _SlowFileSystem, clobber=True)
    store = Store("slow://root", retry_policy=RetryPolicy(call_seconds=0.2, retry_seconds=0.0))
    with pytest.raises(StorageUnavailableError, match="no answer within"):
        store.write("a", b"x")
    assert _SlowFileSystem.given_up.wait(60)
    assert _SlowFileSystem.arrived == []


def test_a_damaged_file_is_not_taken_for_a_passing_fault(proxy: FaultyProxy, s3_endpoint: str, tmp_path: Path) -> None:
    del proxy
    store = store_in_new_bucket(s3_endpoint, RetryPolicy(retry_seconds=600.0))
    local = tmp_path / "a.bin"
    local.write_bytes(b"weights")
    store.put(local, "art/a.bin")
    store.publish("art", [FileEntry.of(local)])
    store.write("art/a.bin", b"weightz")
    began = time.monotonic()
    with pytest.raises(DamagedArtifactError), store.fetched("art"):
        pass
    assert time.monotonic() - began < 30.0


def test_before_a_sweep_a_storage_that_is_away_is_told_soon(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.config.storage_root._ASK_SECONDS", 0.6)
    proxy.fault = "hang"
    for writable, word in ((True, "write to"), (False, "read")):
        with pytest.raises(UserError, match=f"cannot {word} s3://bucket/dfm .*no answer within"):
            check_usable(StorageConfig("s3://bucket/dfm"), writable=writable)
