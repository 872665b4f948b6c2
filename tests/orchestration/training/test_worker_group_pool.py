"""Trainings on workers that stay: who is used again, who is not, and how often a training is tried."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import psutil
import pytest
import ray
from ray.train import WorkerGroupError

from orchestration.artifacts.task_record import read_record
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.cluster.placement_groups import free_placement_groups
from orchestration.config.workers import WorkersConfig, ZeroStage
from orchestration.control.progress_board import start_progress_board
from orchestration.control.work_queue import trainings_of
from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import FAULTS
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from orchestration.training.train_request import request_of
from orchestration.training.worker_group import WorkerGroup, WorkersEndedError
from orchestration.training.worker_group_pool import WorkerGroupPool
from tests.orchestration.conftest import QUICKSTART, TINY
from tests.support.checkpoints import read_checkpoint
from tests.support.sweeps import wait_until
from tests.support.train_processes import train_processes

SECONDS = 240


@dataclass(eq=False)
class Workers:
    """Made up: fails as often as it is told, and says what it does."""

    diary: list[str]
    failures: list[str | Exception]
    number: int
    is_alive: bool = True
    has_begun: bool = True
    refused: str = ""
    """Why it cannot be cleared."""
    trained: list[str] = field(default_factory=list)

    def train(self, request: Any, over: threading.Event) -> None:  # noqa: ARG002
        self.diary.append(f"{self.number} trains {request}")
        if self.failures:
            self.is_alive, failure = False, self.failures.pop(0)
            raise RuntimeError(failure) if isinstance(failure, str) else failure

    def close(self) -> None:
        self.diary.append(f"{self.number} closes")

    def clear(self) -> None:
        self.diary.append(f"{self.number} cleared")
        if self.refused:
            raise PermissionError(self.refused)

    def abandon(self) -> None:
        self.diary.append(f"{self.number} abandoned")


@dataclass
class Named:
    digest: str


class Office:
    """Groups of made-up workers."""

    def __init__(
        self, max_failures: int = 1, failures: tuple[str | Exception, ...] = (), zero_stage: ZeroStage = 2
    ) -> None:
        self.diary: list[str] = []
        self.started: list[Workers] = []
        self.failures, self.refused = list(failures), ""
        workers = WorkersConfig(max_failures=max_failures, zero_stage=zero_stage)
        self.groups = WorkerGroupPool(
            workers,
            lambda task: task.digest,  # type: ignore[arg-type, return-value]
            self.start,  # type: ignore[arg-type]
            is_short=lambda task: not task.digest.startswith("long"),
        )

    def start(self, only: str | None) -> Workers:
        if only is not None:
            self.diary.append(f"{len(self.started)} is for {only}")
        self.started.append(Workers(self.diary, self.failures, len(self.started), refused=self.refused))
        return self.started[-1]

    def train(self, digest: str) -> None:
        future: Future[None] = self.groups.submit(Named(digest))  # type: ignore[arg-type]
        future.result(SECONDS)


def test_a_training_that_follows_another_gets_its_workers() -> None:
    office = Office()
    office.train("a")
    office.train("b")
    office.groups.close_idle()
    office.groups.close_idle()
    assert office.diary == ["0 trains a", "0 trains b", "0 closes"]


def test_workers_without_a_training_for_long_give_back_what_they_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    office, now = Office(), 1000.0
    monkeypatch.setattr("orchestration.training.worker_group_pool.time.monotonic", lambda: now)
    office.train("a")
    now += 59
    office.groups.close_idle(60.0)
    assert (office.groups.num_open, office.groups.num_idle) == (1, 1)
    now += 1
    office.groups.close_idle(60.0)
    assert (office.groups.num_open, office.groups.num_idle) == (0, 0)
    office.train("b")
    assert office.diary == ["0 trains a", "0 closes", "1 trains b"]


def test_workers_of_zero_3_go_after_each_training_since_deepspeed_keeps_its_memory() -> None:
    office = Office(zero_stage=3)
    office.train("a")
    office.train("b")
    assert office.diary == ["0 is for a", "0 trains a", "0 closes", "1 is for b", "1 trains b", "1 closes"]


def test_a_long_training_has_workers_to_itself_and_idle_ones_make_room_for_it() -> None:
    office = Office()
    office.train("a")
    office.train("long")
    office.train("b")
    assert office.diary == ["0 trains a", "1 is for long", "1 trains long", "1 closes", "0 trains b"]
    office.diary.clear()
    office.groups.most = 1
    office.train("long")
    assert office.diary == ["0 closes", "2 is for long", "2 trains long", "2 closes"]
    assert office.groups.num_open == 0


def test_ray_train_itself_tries_a_long_training_again_unless_its_controller_is_lost() -> None:
    tried_out = WorkerGroupError("", {0: RuntimeError("broke")})
    office = Office(max_failures=3, failures=(tried_out,))
    with pytest.raises(WorkerGroupError):
        office.train("long")
    assert office.diary == ["0 is for long", "0 trains long", "0 cleared"]
    office.diary.clear()
    office.failures += [tried_out, ray.exceptions.ActorDiedError()]
    office.train("short")
    assert [line for line in office.diary if "trains" in line] == [f"{n} trains short" for n in (1, 2, 3)]
    office.diary.clear()
    office.failures.append(ray.exceptions.ActorDiedError())
    office.train("long")
    assert [line for line in office.diary if "trains" in line] == ["4 trains long", "5 trains long"]


def test_workers_that_failed_are_not_used_again_and_their_training_is_tried_again() -> None:
    office = Office(max_failures=1, failures=("broke",))
    office.train("a")
    office.train("b")
    assert office.diary == ["0 trains a", "0 cleared", "1 trains a", "1 trains b"]


def test_a_clean_up_that_fails_hides_no_error_and_stops_no_retry() -> None:
    office = Office(max_failures=1, failures=("first", "second"))
    office.refused = "the token has expired"
    with pytest.raises(RuntimeError, match="second") as caught:
        office.train("a")
    assert caught.value.__notes__ == ["Cleaning up failed too: PermissionError: the token has expired"]
    office.train("b")
    assert [line for line in office.diary if "trains" in line] == ["0 trains a", "1 trains a", "2 trains b"]


class _RefusingStore(Store):
    def remove(self, relative: str) -> None:
        raise PermissionError(f"{relative}: the token has expired")


def test_what_ray_train_leaves_in_a_storage_that_refuses_fails_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    module = "orchestration.training.worker_group"
    monkeypatch.setattr(f"{module}.start_work_queue", lambda: ("name", MagicMock()))
    monkeypatch.setattr(f"{module}.in_background", lambda _name, _call: Future())
    monkeypatch.setattr(f"{module}.ray.kill", lambda _actor: None)
    monkeypatch.setattr(f"{module}.free_placement_groups", lambda: None)
    WorkerGroup(_RefusingStore(str(tmp_path)), WorkersConfig()).clear()
    assert "the token has expired" in caplog.text


def test_a_training_fails_with_its_last_error_after_max_failures_the_next_anew() -> None:
    office = Office(max_failures=1, failures=("first", "second", "third"))
    with pytest.raises(RuntimeError, match="second"):
        office.train("a")
    office.train("b")
    assert [line for line in office.diary if "trains" in line] == [
        "0 trains a",
        "1 trains a",
        "2 trains b",
        "3 trains b",
    ]


def test_workers_that_ended_while_they_waited_are_replaced() -> None:
    office = Office(max_failures=0)
    office.train("a")
    office.started[0].is_alive = False
    office.train("b")
    assert office.diary == ["0 trains a", "0 closes", "1 trains b"]


def test_a_training_that_finds_no_room_waits_for_the_workers_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    office, may_end = Office(), threading.Event()
    office.groups.most = 1

    def train(workers: Workers, request: Any, over: threading.Event) -> None:  # noqa: ARG001
        workers.diary.append(f"{workers.number} trains {request}")
        assert may_end.wait(SECONDS)

    monkeypatch.setattr(Workers, "train", train)
    first = office.groups.submit(Named("a"))  # type: ignore[arg-type]
    while not office.diary:
        time.sleep(0.01)
    second = office.groups.submit(Named("b"))  # type: ignore[arg-type]
    time.sleep(0.3)
    assert office.diary == ["0 trains a"]
    may_end.set()
    first.result(SECONDS)
    second.result(SECONDS)
    assert office.diary == ["0 trains a", "0 trains b"]


@pytest.mark.parametrize("lost", [False, True])
def test_trainings_touch_their_workers_no_more_once_ray_is_left(monkeypatch: pytest.MonkeyPatch, lost: bool) -> None:
    office = Office(max_failures=3)

    def train(workers: Workers, request: Any, over: threading.Event) -> None:
        workers.diary.append(f"{workers.number} trains {request}")
        assert over.wait(SECONDS)
        raise RuntimeError("given up")

    monkeypatch.setattr(Workers, "train", train)
    ended = office.groups.submit(Named("a"))  # type: ignore[arg-type]
    while not office.diary:
        time.sleep(0.01)
    office.groups.leave([ended], cluster_is_lost=lost)
    assert ended.done()
    assert isinstance(ended.exception(), RuntimeError)
    with pytest.raises(WorkersEndedError):
        office.train("b")
    assert office.diary == ["0 trains a"] + ([] if lost else ["0 abandoned"])


def test_workers_that_went_leave_their_room_to_others() -> None:
    office = Office(max_failures=1, failures=("broke",))
    office.groups.most = 1
    office.train("a")
    office.started[1].is_alive = False
    office.train("b")
    office.groups.close_idle()
    office.train("c")
    assert [line for line in office.diary if "trains" in line] == [
        f"{n} trains {name}" for n, name in enumerate("aabc")
    ]


def trainings(store: Store) -> list[TrainTask]:
    spec = load_sweep(QUICKSTART, [*TINY, f"storage.root={store.root}", "compute.allow_unequal=true"])
    return make_plan(spec).of_kind(TrainTask)[:2]


def groups_in(store: Store, workers: WorkersConfig, board: str) -> WorkerGroupPool:
    return WorkerGroupPool(
        workers,
        lambda task: request_of(task, store, workers, board),
        lambda only: WorkerGroup(store, workers, only),
        is_short=lambda _task: True,
    )


@pytest.fixture
def groups(ray_here: None, store: Store) -> Iterator[WorkerGroupPool]:  # noqa: ARG001
    workers = WorkersConfig(num_workers=2, checkpoint_every=4, log_every=1, max_failures=1)
    board, _ = start_progress_board()
    found = groups_in(store, workers, board)
    yield found
    found.close_idle()
    assert store.names("ray-train") == []


def weights_after(store: Store, task: TrainTask) -> list[Any]:
    _, tensors = read_checkpoint(TrainingArtifacts(store, task.digest), task.until_step)
    return [weight.tolist() for _, weight in sorted(tensors["weight"].items())]


@pytest.mark.proves(1)
def test_warm_new_and_killed_workers_train_alike_and_idle_ones_end(
    groups: WorkerGroupPool, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = trainings(store)
    wait_until(lambda: not train_processes(), "workers of an earlier test to end", seconds=SECONDS)
    groups.submit(first).result(SECONDS)
    processes = train_processes()
    assert len(processes) == 2
    assert (groups.num_open, groups.num_idle) == (1, 1)
    groups.submit(second).result(SECONDS)
    assert train_processes() == processes

    alone = Store(str(tmp_path / "alone"))
    workers = WorkersConfig(num_workers=2, checkpoint_every=4, log_every=1, max_failures=1)
    board, _ = start_progress_board()
    other = groups_in(alone, workers, board)
    wait_until(is_alone, "one placement group", seconds=SECONDS)
    deadline = time.monotonic() + SECONDS
    while groups.num_open:  # a minute in a launch
        assert time.monotonic() < deadline
        groups.close_idle(for_seconds=0.5)
        time.sleep(0.1)
    wait_until(lambda: not held(), "no placement group", seconds=SECONDS)
    monkeypatch.setenv("DFM_FAULT", "1:6:hang")  # without it, it may have ended before it is seen at work
    there = other.submit(second)
    # Killed before it hangs, the next attempt would hang in its place.
    places = f"checkpoints/{second.digest}/step-{4:09d}/manifest.json", f"{FAULTS}/1-6-hang.json"
    while not all(map(alone.exists, places)):
        assert not there.done()
        time.sleep(0.02)
    killed = train_processes()
    os.kill(min(killed), signal.SIGKILL)
    there.result(SECONDS)
    assert not train_processes() & killed
    other.close_idle()
    one, two = read_record(store, second.digest), read_record(alone, second.digest)
    assert one is not None
    assert two is not None
    assert [row["loss"] for row in one.curve] == [row["loss"] for row in two.curve]
    assert weights_after(store, second) == weights_after(alone, second)


@pytest.mark.proves(9)
@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_what_workers_held_is_free_also_if_all_that_would_free_it_was_killed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill as Ray's memory monitor does, the newest first. Their placement group would stay with this job."""
    (task, _), workers = trainings(store), WorkersConfig(num_workers=2, checkpoint_every=1, log_every=1, max_failures=0)
    name, _ = start_progress_board()
    groups = groups_in(store, workers, name)
    monkeypatch.setenv("DFM_FAULT", "1:3:hang")  # without it, it may have ended before it is seen at work
    ended = groups.submit(task)
    while not store.exists(f"checkpoints/{task.digest}/step-{1:09d}/manifest.json"):
        assert not ended.done()
        time.sleep(0.02)
    wait_until(is_alone, "one placement group", seconds=SECONDS)
    for process in psutil.Process().children(recursive=True):
        if any(part in " ".join(process.cmdline()) for part in ("PlacementGroupCleaner", "TrainController")):
            process.kill()
    assert ended.exception(SECONDS) is not None
    wait_until(lambda: not held(), "no placement group", seconds=SECONDS)


def is_alone() -> bool:
    """Return whether there is one placement group, and free that of an earlier test, whose maker is dead by now."""
    free_placement_groups()
    return held() == ["CREATED"]


def held() -> list[str]:
    """States of the placement groups that are not gone."""
    states = [str(group["state"]) for group in ray.util.placement_group_table().values()]
    return [state for state in states if state != "REMOVED"]


@pytest.mark.proves(18)
@pytest.mark.slow
@pytest.mark.usefixtures("ray_here")
def test_a_diverged_training_redoes_less_than_an_interval_when_resubmitted(store: Store) -> None:
    """Nothing records that it diverged: it does so again, at the same step, soon after its last checkpoint."""
    wild = ("training.learning_rate=0.5", "training.warmup_steps=0", "training.steps=60", "evaluation.at_steps=[60]")
    spec = load_sweep(QUICKSTART, [*TINY, *wild, f"storage.root={store.root}", "compute.allow_unequal=true"])
    (task, *_) = make_plan(spec).of_kind(TrainTask)
    workers = WorkersConfig(num_workers=1, checkpoint_every=2, log_every=1, max_failures=1)
    name, board = start_progress_board()
    groups = groups_in(store, workers, name)
    reasons, steps = [], []
    for _ in range(2):
        groups.submit(task).result(SECONDS)
        news = ray.get(board.take_update.remote())
        reasons.append(news.failures[task.digest])
        steps.append([row["step"] for row in news.rows[task.digest]])
    groups.close_idle()
    assert reasons[0].startswith("diverged: TrainingDivergedError: loss ")
    assert reasons[1] == reasons[0]
    first, again = steps
    assert first == list(range(1, len(first) + 1))
    assert 2 < len(first) < 60
    assert again == first[-len(again) :]
    assert len(again) <= 2
    assert read_record(store, task.digest) is None


@pytest.mark.usefixtures("ray_here")
def test_the_thread_of_a_run_ends_before_ray_is_left_whatever_its_workers_do(store: Store) -> None:
    """A thread that waits in Ray Train's `fit` while Ray shuts down can end the process by a segmentation fault."""
    group = WorkerGroup(store, WorkersConfig(num_workers=1))
    assert group.is_alive
    group.abandon()
    assert not group.is_alive
    ray.kill(group._queue)


@pytest.mark.usefixtures("ray_here")
def test_a_worker_without_a_queue_does_not_wait_for_ever() -> None:
    with pytest.raises(ValueError, match="desk"):
        next(trainings_of("desk-that-is-not-there"))
