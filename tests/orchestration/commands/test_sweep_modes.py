"""Planning while a storage is silent: told soon, in one message, and ended at once by Ctrl-C."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from orchestration.sweep import main
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.s3 import environment, variables

BASE = QUICKSTART.parent / "base" / "fashion_mnist_small.yaml"
SHA256 = hashlib.sha256(b"").hexdigest()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that takes connections and requests, and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener


@pytest.fixture
def silent(listener: socket.socket) -> Iterator[str]:
    """Its address; no other S3 is in the environment."""
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with environment(variables(address)):
        yield address


def sweep_file(folder: Path, address: str) -> Path:
    """A sweep whose root, two datasets, autoencoder and network lie on the silent server."""
    (folder / "silent.yaml").write_text(
        f"""
name: silent
base: {BASE}
datasets: {{mine: {{files: "s3://bucket/mine"}}, other: {{files: "s3://bucket/other"}}}}
autoencoders: {{own: {{kind: kl, files: "s3://bucket/own"}}}}
data: {{dataset: mine, side: 32}}
evaluation: {{metrics: [fid, fdd]}}
networks:
  inception: {{weights: {{path: "{address}/inception.pt", sha256: {SHA256}}}}}
  dinov2: {{weights: {{path: "{address}/dinov2.pth", sha256: {SHA256}}}}}
parts:
  rows: {{rows: {{one: {{}}, two: {{data.dataset: other}}, three: {{data.autoencoder: own}}}}}}
""",
        encoding="utf-8",
    )
    return folder / "silent.yaml"


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "orchestration" / "sweep.py"), *arguments],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.slow
def test_a_silent_storage_is_one_message_after_fifteen_seconds_and_code_2(silent: str, tmp_path: Path) -> None:
    path, root = str(sweep_file(tmp_path, silent)), f"storage.root={tmp_path}/runs"
    embedded = "data={dataset: fashion_mnist}"
    alone = "parts={rows: {rows: {one: {}}}}"
    began = time.monotonic()
    commands = [
        started(path, root, "--dry-run"),
        started(path, root, embedded, alone, "data.side=0"),
        started(str(QUICKSTART), "storage.root=s3://bucket/dfm"),
        started(str(QUICKSTART), "storage.root=s3://bucket/dfm", "--status"),
    ]
    for command in commands:
        told = command.communicate(timeout=200)[1]
        assert command.returncode == 2, told
        assert "1 mistake; nothing was started:" in told
        assert "no answer within" in told
        assert "Traceback" not in told
    assert 12.0 < time.monotonic() - began < 150.0


def test_ctrl_c_ends_the_wait_for_a_silent_storage(silent: str, listener: socket.socket, tmp_path: Path) -> None:
    command = started(str(sweep_file(tmp_path, silent)), f"storage.root={tmp_path}/runs", "--dry-run")
    listener.settimeout(120)
    with listener.accept()[0]:  # from here on it waits
        command.send_signal(signal.SIGINT)
        told = command.communicate(timeout=120)[1]
    assert command.returncode == 130
    assert "Traceback" not in told


def test_all_that_lies_on_a_silent_storage_is_one_message(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestration.data.describe.PLANNING_SECONDS", 0.5)
    began = time.monotonic()
    code = main([str(sweep_file(tmp_path, silent)), f"storage.root={tmp_path}/runs", "seeds=[-1]", "--dry-run"])
    assert time.monotonic() - began < 30.0
    told = capsys.readouterr().err
    assert code == 2
    assert "2 mistakes" in told
    assert "seeds" in told
    assert told.count("no answer within 0.5 s") == 1


def test_of_a_silent_server_one_file_is_asked_for(
    silent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestration.data.file_cache.PLANNING_SECONDS", 0.5)
    overrides = ["data={dataset: fashion_mnist, side: 0}", "parts={rows: {rows: {one: {}}}}"]
    began = time.monotonic()
    code = main([str(sweep_file(tmp_path, silent)), f"storage.root={tmp_path}/runs", *overrides])
    assert time.monotonic() - began < 30.0
    told = capsys.readouterr().err
    assert code == 2
    assert told.count("no answer within 0.5 s") == 1
    assert f"{silent}/" in told


class _FallenSilent(MemoryFileSystem):  # type: ignore[misc]
    """One that answers the check before a sweep, and then never again."""

    protocol = "fallen"
    cachable = False
    ended = threading.Event()

    def cat_file(self, *_: object, **__: object) -> bytes:
        self.ended.wait(120)
        return b""

    def ls(self, *_: object, **__: object) -> list[str]:
        self.ended.wait(120)
        return []


@pytest.mark.parametrize("mode", ["--dry-run", "--status", "--stop"])
def test_a_storage_that_falls_silent_while_planning_is_one_message(
    mode: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestration.commands.sweep_modes.PLANNING_SECONDS", 0.5)
    fsspec.register_implementation("fallen", _FallenSilent, clobber=True)
    began = time.monotonic()
    code = main([str(QUICKSTART), "storage.root=fallen://root", mode])
    assert time.monotonic() - began < 30.0
    assert code == 2
    assert "storage.root: cannot read fallen://root" in capsys.readouterr().err
    _FallenSilent.ended.set()
    _FallenSilent.ended.clear()


def test_faults_that_cannot_be_injected_are_told_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DFM_FAULT", "0:5:explode")
    assert main([str(QUICKSTART), f"storage.root={tmp_path}/runs", "--dry-run"]) == 0
    assert "It cannot run here yet:\n  DFM_FAULT: 'explode' is no action" in capsys.readouterr().out
    assert main([str(QUICKSTART), f"storage.root={tmp_path}/runs"]) == 2
    assert "DFM_FAULT: 'explode' is no action" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("folder", "mode"),
    [
        *[("status", mode) for mode in ("--status", "--stop", "--dry-run", "--gc")],
        *[("plans", mode) for mode in ("--status", "--stop", "--dry-run", "--gc")],
        *[("features", "--gc"), ("snapshots", "--gc"), ("leases", "run"), ("plans", "run")],
    ],
)
def test_a_closed_folder_of_a_root_is_one_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: str, mode: str
) -> None:
    """Folders closed as on a root that a colleague made, some of them theirs alone."""
    closed, listdir, scandir, stat, access = tmp_path / folder, os.listdir, os.scandir, os.stat, os.access
    closed.mkdir()

    def is_closed(path: object) -> bool:
        return isinstance(path, (str, Path)) and str(path).startswith(str(closed))

    def refuse(path: object) -> None:
        if is_closed(path) and Path(str(path)) != closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

    def closed_stat(path: Any, **more: Any) -> os.stat_result:
        refuse(path)
        return stat(path, **more)

    def closed_scandir(path: Any = ".") -> Any:
        refuse(f"{path}/x")
        return scandir(path)

    def closed_listdir(path: Any = ".") -> list[str]:
        refuse(f"{path}/x")
        return listdir(path)

    monkeypatch.setattr(os, "stat", closed_stat)
    monkeypatch.setattr(os, "listdir", closed_listdir)
    monkeypatch.setattr(os, "scandir", closed_scandir)
    monkeypatch.setattr(os, "access", lambda path, needed: access(path, needed) and not is_closed(path))
    assert main([str(QUICKSTART), f"storage.root={tmp_path}", *([] if mode == "run" else [mode])]) == 2
    (headline, mistake) = capsys.readouterr().err.strip().splitlines()
    assert headline == "1 mistake; nothing was started:"
    assert mistake.startswith("  storage.root: ")
    assert folder in mistake
