"""Ray Train's own retries follow the failure policy: no error of a user's or of the training is tried again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchTrainer

from dfm_core.training.divergence import TrainingDivergedError
from orchestration.control.failure_policy import DIVERGED, MISTAKE, failure_of
from orchestration.control.progress_board import start_progress_board
from orchestration.training.early_stop import PreemptedError
from orchestration.training.run_failures import RunFailures

pytestmark = pytest.mark.usefixtures("ray_here")


def failing(config: dict[str, Any]) -> None:
    """A worker that fails as often as it is told."""
    attempts = Path(config["attempts"])
    attempt = len(list(attempts.iterdir()))
    (attempts / str(attempt)).touch()
    if attempt < config["times"]:
        raise config["error"]


def run(folder: Path, error: Exception, times: int) -> tuple[int, str, list[str], BaseException | None]:
    """Returns the number of attempts, how it ended, what the board was told, and the error."""
    attempts = folder / "attempts"
    attempts.mkdir()
    name, board = start_progress_board()
    trainer = TorchTrainer(
        failing,
        train_loop_config={"attempts": str(attempts), "times": times, "error": error},
        scaling_config=ScalingConfig(num_workers=1),
        run_config=RunConfig(
            storage_path=str(folder / "runs"),
            failure_config=FailureConfig(max_failures=1, controller_failure_limit=0, max_preemption_failures=-1),
            callbacks=[RunFailures("d", name, name, 1)],
        ),
    )
    ended: BaseException | None = None
    try:
        trainer.fit()
    except (WorkerGroupError, ControllerError) as failed:
        ended = failed
    told = ray.get(board.take_update.remote()).lost.get("d", [])
    ray.kill(board)
    return len(list(attempts.iterdir())), type(ended).__name__, told, ended


@pytest.mark.parametrize(
    ("error", "kind"), [(ValueError("no such thing"), MISTAKE), (TrainingDivergedError("loss 9"), DIVERGED)]
)
def test_what_a_restart_cannot_help_ends_the_run_at_once(tmp_path: Path, error: Exception, kind: object) -> None:
    num_attempts, how, told, ended = run(tmp_path, error, times=9)
    assert (num_attempts, how, told) == (1, "ControllerError", [])
    assert ended is not None
    assert failure_of(ended).kind is kind


def test_other_errors_are_tried_again_up_to_the_limit_and_told(tmp_path: Path) -> None:
    num_attempts, how, told, _ = run(tmp_path, RuntimeError("a link went down"), times=9)
    assert (num_attempts, how) == (2, "WorkerGroupError")
    assert told == ["RuntimeError: a link went down"]


@pytest.mark.proves(4)
def test_a_preemption_does_not_count_against_the_limit(tmp_path: Path) -> None:
    num_attempts, how, told, _ = run(tmp_path, PreemptedError("a node is to be taken away"), times=3)
    assert (num_attempts, how) == (4, "NoneType")
    assert told == ["preempted: PreemptedError: a node is to be taken away"] * 3


def test_workers_without_a_queue_are_not_started_again() -> None:
    with pytest.raises(ControllerError, match="see its workers"):
        RunFailures("d", "no-queue", "no-board", 1).after_exception(None, {0: RuntimeError("broke")})


def test_polls_of_workers_that_end_one_after_the_other_are_one_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    name, board = start_progress_board()
    judge, now = RunFailures("d", name, name, 1), 100.0
    monkeypatch.setattr("orchestration.training.run_failures.time.monotonic", lambda: now)
    for later in (0.0, 0.5, 0.5, 60.0, 0.5, 60.0):
        now += later
        judge.after_exception(None, {0: RuntimeError(f"at {now:g}")})
    deadline = time.time() + 120
    told: list[str] = []
    while len(told) < 1 and time.time() < deadline:
        told += ray.get(board.take_update.remote()).lost.get("d", [])
    assert told == ["RuntimeError: at 100"]  # the second one is the last
    ray.kill(board)
