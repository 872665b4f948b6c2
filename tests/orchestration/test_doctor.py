"""The doctor's own calls, and the whole of it on a Ray of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestration.config.storage import StorageConfig
from orchestration.diagnosis import check_access as access_probe
from orchestration.diagnosis.check_access import ray_rows, tracking_rows
from orchestration.diagnosis.check_nodes import NodeProbe
from orchestration.diagnosis.check_report import CheckResult, Redaction, print_rows
from orchestration.doctor import main
from tests.orchestration.conftest import ROOT


@contextmanager
def server(status: int, version: str = "3.17.2") -> Iterator[str]:
    """host:port of a server that gives every stranger this answer, and tells its version."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/version" else status)
            self.end_headers()
            self.wfile.write(version.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()


def states(rows: Iterator[CheckResult]) -> dict[str, str]:
    return {row.where: row.state for row in rows}


@pytest.mark.parametrize(
    ("refused", "status", "state"), [(True, 401, "ok"), (True, 200, "FAILED"), (False, 200, "FAILED")]
)
def test_services_that_let_strangers_in_are_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: bool, status: int, state: str
) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(access_probe, "is_refused", lambda _: refused)
    (tmp_path / "token").write_text("ab" * 32)
    (tmp_path / "token").chmod(0o640)
    with server(status) as dashboard:
        found = states(ray_rows("10.0.0.1:6379", dashboard, num_nodes=2))
    control = "ok" if refused else "FAILED"
    assert found == {"control service": control, "jobs API": state, "token": "FAILED", "between nodes": "note"}
    (tmp_path / "token").chmod(0o600)
    assert states(ray_rows("10.0.0.1:6379", "", num_nodes=1)) == {"control service": control, "token": "ok"}


@pytest.mark.parametrize(
    ("status", "version", "expected"),
    [
        (401, "3.17.2", {"version": "ok", "access": "ok"}),
        (200, "3.17.2", {"version": "ok", "access": "note"}),
        (403, "3.10.1", {"version": "FAILED", "access": "ok"}),
        (403, "2.22.0", {"version": "FAILED", "access": "ok"}),
        (403, "no number", {"access": "ok"}),
    ],
)
def test_a_tracking_server_is_asked_for_its_version_and_who_may_ask(
    status: int, version: str, expected: dict[str, str]
) -> None:
    with server(status, version) as address:
        assert states(tracking_rows(f"http://{address}/")) == expected


def test_a_database_or_a_server_that_is_away_gives_no_row_of_access() -> None:
    assert not list(tracking_rows("sqlite:////data/mlflow.db"))
    assert not list(tracking_rows("http://127.0.0.1:1"))


def test_a_storage_that_all_nodes_share_is_told_from_one_that_each_has_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.diagnosis.check_nodes.reach_nodes_directly", lambda: None)  # without a cluster
    here, there = StorageConfig(str(tmp_path / "here")), StorageConfig(str(tmp_path / "there"))
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".doctor-1").write_bytes(b"driver's")
    probe = NodeProbe()
    problem, seconds = probe.storage(here, ".doctor-1", b"driver's")
    assert (problem, seconds > 0) == ("", True)
    assert "holds another content" in probe.storage(here, ".doctor-1", b"another's")[0]
    assert "is not the same place on every node" in probe.storage(there, ".doctor-1", b"driver's")[0]
    (tmp_path / "file").touch()
    assert probe.storage(StorageConfig(str(tmp_path / "file")), ".doctor-1", b"")[0].startswith("FileExistsError")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [".doctor-1", "file"]


def test_redacted_rows_name_nothing_and_equal_names_stay_equal(capsys: pytest.CaptureFixture[str]) -> None:
    redaction = Redaction(enabled=True)
    for name, word in (("s3://bucket/dfm", "STORAGE"), ("bucket", "x"), ("gpu-7", "host-1"), ("10.0.0.7", "address-1")):
        redaction.add(name, word)
    row = CheckResult(
        "storage", "10.0.0.7 (gpu-7)", "FAILED", "no s3://bucket/dfm at gpu-7", "ask https://me:pw@bucket/x?sig=0f"
    )
    print_rows([row, row], redaction)
    printed = capsys.readouterr().out
    assert "<address-1> (<host-1>)" in printed
    assert "no <STORAGE> at <host-1>" in printed
    assert not re.search(r"bucket|gpu-7|10\.0\.0\.7|pw|0f", printed)
    assert "2 checks: 2 failed, 0 to be thought about, 0 well." in printed
    print_rows([row], Redaction(enabled=False))
    assert "10.0.0.7 (gpu-7)" in capsys.readouterr().out


def test_mistakes_end_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--storage", "nosuch://bucket"]) == 2
    assert "storage.root: 'nosuch://bucket'" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main(["--num-gpus", "-1"])


@pytest.mark.slow
def test_this_machine_is_examined_and_nothing_is_left(tmp_path: Path) -> None:
    dropped = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_URI", "DFM_STORAGE_ROOT")
    environment = {name: value for name, value in os.environ.items() if name not in dropped}
    command = [sys.executable, "-m", "orchestration.doctor", "--storage", str(tmp_path / "runs"), "--redacted"]

    def examine(*more: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, *more],
            cwd=ROOT,
            env=environment | {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)} | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    done = examine()
    assert done.returncode == 0, done.stdout + done.stderr
    for found in (
        "refuses calls without the token",
        "the same everywhere",
        "wrote, read back and removed",
        "all-reduce of",
    ):
        assert found in done.stdout
    assert "0 failed" in done.stdout
    assert str(tmp_path) not in done.stdout
    assert not list((tmp_path / "runs").iterdir())
    (tmp_path / ".ray" / "auth_token").unlink()
    is_open = examine("--insecure-no-auth")
    assert is_open.returncode == 1, is_open.stdout + is_open.stderr
    assert is_open.stdout.count("takes calls from anybody") == 2
