"""Temporary folders of killed processes go; those of living ones stay."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestration.storage.scratch import scratch_folder
from tests.orchestration.conftest import ROOT

_HOLD = """
import sys
from orchestration.storage.scratch import scratch_folder
with scratch_folder("checkpoint") as folder:
    (folder / "shard").write_bytes(b"0" * 1000)
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD],
        env={**os.environ, "TMPDIR": str(place), "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_a_folder_is_private_and_gone_after_its_block_whatever_happens(temporary_folder: Path) -> None:
    with contextlib.suppress(OSError), scratch_folder("checkpoint") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "shard").write_bytes(b"half")
        raise OSError("full")
    assert list(temporary_folder.iterdir()) == []


def test_a_killed_process_leaves_nothing_beyond_the_next_one(temporary_folder: Path) -> None:
    killed, left = holder(temporary_folder)
    alive, held = holder(temporary_folder)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert (left / "shard").is_file()
    with scratch_folder("checkpoint"):
        assert not left.exists()
        assert (held / "shard").is_file()
    alive.communicate("")
    assert list(temporary_folder.iterdir()) == []


def test_folders_of_another_purpose_and_of_other_programs_stay(temporary_folder: Path) -> None:
    others = [temporary_folder / name for name in ("dfm-fetch-0123456789ab", "dfm-checkpoint-old", "tmpabc")]
    for other in others:
        other.mkdir()
    (temporary_folder / "dfm-fetch-0123456789ab.lock").touch()
    with scratch_folder("checkpoint"):
        assert all(other.is_dir() for other in others)
