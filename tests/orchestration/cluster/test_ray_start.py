"""Ray that does not start is tried again, and then told as such, with its last words."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray._private import ray_constants

from orchestration.cluster import authentication, ray_start, start_checks
from orchestration.cluster.ray_start import await_workers, start_here
from orchestration.cluster.start_checks import RayDidNotStartError
from orchestration.common.errors import UserError, tell_mistakes
from orchestration.common.exit_codes import EXIT_RAY_DID_NOT_START, EXIT_TERMINATED, EXIT_USER_ERROR
from orchestration.common.project import ROOT
from orchestration.control.end_signals import EndSignals
from orchestration.control.outcome import EarlyExit

TIMED_OUT = "The current node timed out during startup. This could happen because the GCS has become overloaded."


class FaultyRay:
    """Ray whose first starts fail. Only what `start_here` and `await_workers` call."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors, self.given, self.num_shutdowns = list(errors), dict[str, Any](), 0
        self.exceptions = SimpleNamespace(RayError=RuntimeError)

    def init(self, **given: Any) -> str:
        self.given = given
        if self.errors:
            raise self.errors.pop(0)
        return "context"

    def shutdown(self) -> None:
        self.num_shutdowns += 1

    def remote(self, _call: object) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: "answer"))

    def wait(self, answers: list[str], timeout: float) -> tuple[list[str], list[str]]:  # noqa: ARG002
        return [], answers


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Ray's folder, with a log that this process's cluster left. Nothing of the real Ray is touched."""
    monkeypatch.setattr(ray_start, "folder_problems", lambda *_: [])  # the folder's path is long
    monkeypatch.setattr(ray_start, "listen_on_loopback", lambda: None)
    monkeypatch.setattr(ray_constants, "RAY_ENABLE_UV_RUN_RUNTIME_ENV", True)
    monkeypatch.setattr(authentication, "_set_mode", lambda _: None)
    for name in (ray_start.LOOPBACK_VARIABLE, *ray_start._ON_DEMAND):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("MY_PASSWORD", "correct-horse")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    logs = tmp_path / "ray" / f"session_2026-01-01_00-00-00_000000_{os.getpid()}" / "logs"
    logs.mkdir(parents=True)
    lines = [*(f"line {number}" for number in range(50)), "no such module: correct-horse"]
    (logs / "raylet.err").write_text("\n".join(lines))
    return logs


def with_ray(monkeypatch: pytest.MonkeyPatch, *errors: BaseException) -> FaultyRay:
    faulty = FaultyRay(*errors)
    monkeypatch.setattr(ray_start, "ray", faulty)
    return faulty


def test_a_start_that_fails_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faulty = with_ray(monkeypatch, Exception(TIMED_OUT), RuntimeError("Failed to start GCS"))
    assert start_here(insecure=False) == "context"
    told = capsys.readouterr().out.splitlines()
    assert told == [
        f"Ray did not start (Exception: {TIMED_OUT}); it is tried again.",
        "Ray did not start (RuntimeError: Failed to start GCS); it is tried again.",
    ]
    assert faulty.num_shutdowns == 2


def test_a_ray_that_never_starts_ends_with_its_last_words_and_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    with_ray(monkeypatch, *(Exception(TIMED_OUT) for _ in range(9)))
    with pytest.raises(RayDidNotStartError) as caught:
        start_here(insecure=False)
    assert tell_mistakes(caught.value) == EXIT_RAY_DID_NOT_START
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "Ray did not start; the same command tries again:"
    assert told[1] == f"  Ray: Exception: {TIMED_OUT}. The end of {folder}/raylet.err:"
    assert told[2] == "    line 39"
    assert told[-1] == "    no such module: ***"


def test_an_interrupted_start_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = with_ray(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        start_here(insecure=False)
    assert faulty.num_shutdowns == 0


def test_nothing_is_started_with_an_interpreter_that_ray_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = with_ray(monkeypatch)
    monkeypatch.setattr(sys, "executable", "/home/a b/python")
    with pytest.raises(UserError, match="/home/a b/python: Ray hands this path to a shell"):
        start_here(insecure=False)
    assert not faulty.given


def test_nothing_is_started_where_trainings_cannot_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    faulty = with_ray(monkeypatch)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", f"{__file__}/extensions")
    with pytest.raises(UserError, match=r"TORCH_EXTENSIONS_DIR=.*: trainings cannot write what they compile there"):
        start_here(insecure=False)
    assert not faulty.given


def test_the_users_python_path_stays_behind_the_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    faulty = with_ray(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/opt/modules/ray", "", "own"]))
    start_here(insecure=False)
    expected = os.pathsep.join([str(ROOT), "/opt/modules/ray", str(tmp_path / "own")])
    assert faulty.given["runtime_env"] == {"env_vars": {"PYTHONPATH": expected}}


def test_workers_are_started_with_this_python_under_uv_run_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch)
    start_here(insecure=False)
    assert not ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV


def test_workers_that_do_not_answer_in_time_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch)
    with pytest.raises(
        RayDidNotStartError, match=r"(?s)none of its workers has answered in 0.1 s.*raylet.err:.*line 49"
    ):
        await_workers(0.1, EndSignals())


def test_waiting_for_workers_ends_when_the_process_is_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch)
    signals = EndSignals()
    signals.early_exit = EarlyExit(EXIT_TERMINATED, "", "")
    begin = time.monotonic()
    await_workers(60.0, signals)
    assert time.monotonic() - begin < 30


def test_a_limit_of_address_space_is_named_where_ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with_ray(monkeypatch, *(Exception(TIMED_OUT) for _ in range(9)))
    monkeypatch.setattr(start_checks.resource, "getrlimit", lambda _: (4_000_000 * 1024, -1))
    with pytest.raises(UserError) as caught:
        start_here(insecure=False)
    assert caught.value.exit_code == EXIT_USER_ERROR
    (problem,) = caught.value.problems
    assert problem.where == "ulimit -v 4000000"
    assert TIMED_OUT in problem.message
    assert problem.message.endswith("raise the limit (ulimit -v unlimited)")
