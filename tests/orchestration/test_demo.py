"""The demo's own Ray head."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from orchestration import demo
from orchestration.cluster.start_checks import RayDidNotStartError


def test_a_head_that_does_not_come_up_ends_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> int:
        raise RayDidNotStartError.of("ray start", "the head did not come up")

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
