"""The demo's own Ray head."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from orchestration import demo
from orchestration.cluster.start_checks import RayDidNotStartError


def test_a_head_that_does_not_come_up_is_told_with_its_last_words_and_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    log.write_text("the port is somebody else's")
    head = subprocess.Popen([sys.executable, "-c", ""])
    head.wait()
    with pytest.raises(RayDidNotStartError, match="the port is somebody else's") as caught:
        demo._wait_for_head(head, "http://127.0.0.1:1", log)

    def fails(*_: object) -> int:
        raise caught.value

    monkeypatch.setattr(demo, "_demo", fails)
    assert demo.main([]) == 8
    assert "Ray did not start" in capsys.readouterr().err


def test_the_demo_refuses_an_interpreter_that_ray_cannot_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DFM_STORAGE_ROOT", str(tmp_path / "runs"))
    monkeypatch.setattr(sys, "executable", "/home/a b/python")
    assert demo.main([]) == 2
    assert "/home/a b/python: Ray hands this path to a shell" in capsys.readouterr().err
