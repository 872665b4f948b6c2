"""Workers stop together: worker 0 alone knows why, and all of them learn it with one number."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ray
import torch
from ray.train import WorkerGroupError

from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from orchestration.artifacts.training_artifacts import StateArtifact, TrainingCost
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import HOUR
from orchestration.control.failure_policy import PREEMPTED, failure_of
from orchestration.control.progress_board import start_progress_board
from orchestration.launch.shutdown import shut_down
from orchestration.tasks.task import TrainingTask
from orchestration.training.checkpoint_upload import StateUploads
from orchestration.training.checkpointed_run import CheckpointedRun
from orchestration.training.early_stop import EarlyStop, PreemptedError, StoppedEarlyError
from orchestration.training.hang_watch import StepWatch
from orchestration.training.run_report import Throughput
from tests.support.clock import Clock


class Rank:
    """One of several workers, of which only worker 0 has something to say."""

    device = torch.device("cpu")

    def __init__(self, rank: int, world_size: int, said_by_0: float = 0.0) -> None:
        self.rank, self.world_size, self._said_by_0 = rank, world_size, said_by_0

    def mean(self, own: torch.Tensor) -> torch.Tensor:
        assert self.rank == 0 or float(own) == 0, "worker 0 alone decides"
        return (own if self.rank == 0 else torch.full_like(own, self._said_by_0)) / self.world_size


def early_stop(
    rank: Rank, limit_hours: float | None = None, spent: float = 0.0, progress_board: Any = None
) -> EarlyStop:
    return EarlyStop(progress_board, cast("TrainingEngine", rank), limit_hours, lambda: spent)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7, 8, 512])
def test_a_reached_limit_is_understood_by_any_number_of_workers(world_size: int) -> None:
    assert early_stop(Rank(0, world_size), 1.0, HOUR).agreed() == "limit"
    assert early_stop(Rank(0, world_size), 1.0, HOUR - 1).agreed() == ""
    assert early_stop(Rank(0, world_size), None, 99 * HOUR).agreed() == ""
    assert early_stop(Rank(world_size - 1, world_size, 1.0), 1.0, 0.0).agreed() == ("driver" if world_size > 1 else "")
    assert early_stop(Rank(world_size - 1, world_size, 2.0), 1.0, 0.0).agreed() == ("limit" if world_size > 1 else "")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "waited for two minutes"
        time.sleep(0.05)


@pytest.mark.usefixtures("ray_here")
def test_worker_0_learns_from_the_board_that_the_driver_wants_it_to_stop() -> None:
    _, board = start_progress_board()
    worker = early_stop(Rank(0, 2), progress_board=board)

    def stops() -> bool:
        worker.look()
        return worker.agreed() == "driver"

    for _ in range(30):
        assert not stops()
        time.sleep(0.05)
    ray.get(board.stop.remote())
    until(stops)
    ray.kill(board)


@pytest.mark.usefixtures("ray_here")
def test_a_lost_board_stops_nobody_and_the_driver_says_it_again() -> None:
    _, board = start_progress_board()
    worker = early_stop(Rank(0, 2), progress_board=board)
    worker.look()
    ray.get(board.stop.remote())
    ray.kill(board, no_restart=False)  # and with it what it was told

    def stops() -> bool:
        worker.look()
        return worker.agreed() == "driver"

    running = [1]

    def look() -> None:
        if stops():
            running.clear()

    assert shut_down(board, lambda: len(running), look, grace_seconds=180)  # a board starts in a new process
    ray.kill(board)


def test_trainings_that_do_not_stop_in_time_are_left_to_their_last_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        class stop:  # noqa: N801
            @staticmethod
            def remote() -> None: ...

    looked, clock = list[float](), Clock()
    monkeypatch.setattr("orchestration.launch.shutdown.time", clock)
    assert not shut_down(Deaf(), lambda: 1, lambda: looked.append(clock.now), grace_seconds=60)
    assert len(looked) > 1
    assert looked[-1] - looked[0] == pytest.approx(60, abs=1)


class Told:
    """A board that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        method = type("Method", (), {})()
        method.remote = lambda *arguments: self.calls.append((name, arguments))
        return method


class Decided:
    """An agreement of all workers."""

    def __init__(self, reason: str) -> None:
        self.reason, self.num_asked = reason, 0

    def look(self) -> None: ...

    def agreed(self) -> str:
        self.num_asked += 1
        return self.reason


class Worker(CheckpointedRun):
    """A worker of a training of 60 steps with checkpoints at 20, 40 and 60, and points of the curve at 5, 10, ..."""

    def __init__(self, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.task = cast("TrainingTask", SimpleNamespace(digest="d", until_step=60))
        self.workers = WorkersConfig(max_accelerator_hours_per_training=0.5)
        self.progress_board, self.engine = Told(), cast("TrainingEngine", Rank(0, 2))
        self.decided = Decided(reason)
        self.early_stop, self.watch = cast("EarlyStop", self.decided), StepWatch(60.0, print)
        self.checkpoint_steps = {20, 40, 60}
        self.rows, self.saved, self.last_progress = [], list[int](), time.monotonic()
        self.throughput = Throughput(0, 1, 0.0, 2, torch.device("cpu"))
        self.started, self.cost_before = time.monotonic(), TrainingCost(0.0, 2 * HOUR)
        self.startup_seconds: float | None = None
        published = SimpleNamespace(finish=lambda: self.progress_board.calls.append(("published", ())))
        self.uploads = cast("StateUploads", published)
        monkeypatch.setattr("orchestration.training.checkpointed_run.ray.get", lambda answer: answer)
        monkeypatch.setattr("orchestration.training.checkpointed_run.gather_texts", lambda own, _device: [own, own])

    def _save(self, artifacts: list[StateArtifact], step: int, curve: list[CurveRow]) -> None:
        assert artifacts == [], "nothing but the checkpoint"
        assert curve[-1]["step"] == step, "the curve of a checkpoint ends where it does"
        self.saved.append(step)

    def at(self, step: int) -> None:
        if step % 5 == 0:
            self.log({"step": float(step), "loss": 1.0})
        self.progress(step)


def test_a_training_stops_at_a_point_of_its_curve_with_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker("driver", monkeypatch)
    for step in (1, 2, 3, 4):
        worker.at(step)
    assert worker.decided.num_asked == 0
    with pytest.raises(StoppedEarlyError):
        worker.at(5)
    assert worker.saved == [5]
    told = [call for call in worker.progress_board.calls if call[0] in ("published", "stopped")]
    assert told == [("published", ()), ("stopped", ("d", 5))]  # who hears it may end the cluster


def test_a_checkpoint_that_is_written_already_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker("driver", monkeypatch)
    with pytest.raises(StoppedEarlyError):
        worker.at(20)
    assert worker.saved == []


@pytest.mark.proves(4)
def test_a_training_whose_node_is_to_go_keeps_a_checkpoint_and_ends_its_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker("preempted", monkeypatch)
    with pytest.raises(PreemptedError, match="goes on from step 5 on others"):
        worker.at(5)
    assert worker.saved == [5]
    told = [call for call in worker.progress_board.calls if call[0] in ("published", "stopped", "failed")]
    assert told == [("published", ())]  # neither stopped nor failed: the next attempt goes on


@pytest.mark.proves(4)
@pytest.mark.parametrize("world_size", [2, 512])
def test_worker_0_says_when_all_ask_ray_train_for_a_preemption(
    world_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def worker(rank: int, said_by_0: float, info: object | None, spent: float = 0.0) -> EarlyStop:
        engine = cast("TrainingEngine", Rank(rank, world_size, said_by_0))
        return EarlyStop(None, engine, 1.0, lambda: spent, lambda: asked.append(rank) or info)

    monkeypatch.setattr("orchestration.training.early_stop._PREEMPTION_SECONDS", 3600.0)
    assert worker(0, 0.0, "a node goes").agreed() == ""  # it asked a moment ago
    assert asked == []
    monkeypatch.setattr("orchestration.training.early_stop._PREEMPTION_SECONDS", 0.0)
    assert [worker(rank, 3.0, "a node goes").agreed() for rank in (0, world_size - 1)] == ["preempted"] * 2
    assert [worker(rank, 3.0, None).agreed() for rank in (0, world_size - 1)] == [""] * 2
    assert asked == [0, world_size - 1] * 2
    assert worker(0, 0.0, "a node goes", spent=HOUR).agreed() == "limit"
    assert asked == [0, world_size - 1] * 2


def test_ray_train_takes_a_preempted_attempt_for_an_actor_that_a_preemption_ended() -> None:
    error = pickle.loads(pickle.dumps(PreemptedError("a node is to be taken away")))
    assert error.preempted
    assert str(error) == "a node is to be taken away"
    assert failure_of(WorkerGroupError("", {0: error})).kind is PREEMPTED


def test_a_training_that_spent_its_limit_says_so_and_keeps_its_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Worker("limit", monkeypatch)
    with pytest.raises(StoppedEarlyError):
        worker.at(35)
    assert worker.saved == [35]
    method, (digest, reason) = worker.progress_board.calls[-1]
    assert (method, digest) == ("failed", "d")
    assert reason.startswith("at step 35 of 60, it has spent 2 of its 0.5 accelerator-hours")


def test_a_training_goes_on_where_nothing_is_wanted_and_its_last_step_is_no_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = Worker("", monkeypatch)
    worker.at(5)
    assert worker.decided.num_asked == 1
    finished = Worker("driver", monkeypatch)
    finished.at(60)
    assert finished.decided.num_asked == 0
