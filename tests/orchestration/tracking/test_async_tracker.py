"""The tracker's calls in a thread of their own: in order, none lost, mistakes told."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import pytest

from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord
from orchestration.tasks.task import Task, TrainTask
from orchestration.tracking.async_tracker import TrackingQueue
from tests.support.stored_sweeps import tiny_plan


class Recorder:
    """A tracker that waits at a gate before every call."""

    num_lacking = 0

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.told: list[str] = []
        self.held: set[str] = set()

    def _tell(self, what: str) -> None:
        assert self.gate.wait(60)
        self.told.append(what)

    def is_complete(self, digest: str) -> bool:
        return digest in self.held

    def describe(self, task: Task) -> None:
        self._tell(f"describe {task.kind}")

    def begin(self, task: Task) -> None:
        self._tell(f"begin {task.kind}")

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        self._tell(f"curve {task.kind} {len(rows)}")

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None:
        self._tell(f"complete {task.kind} {result.metrics} {training is not None}")

    def tag(self, digest: str, tags: Mapping[str, str]) -> None:  # noqa: ARG002
        raise LookupError("a mistake of ours")

    def fail(self, task: Task, message: str) -> None:
        self._tell(f"fail {task.kind} {message}")


@pytest.fixture
def task() -> Task:
    return tiny_plan().of_kind(TrainTask)[0]


def result(task: Task) -> TaskRecord:
    return TaskRecord(task.digest, task.kind, {"x": 1.0}, seconds=1.0, step=4)


@pytest.mark.proves(20)
def test_nobody_waits_and_everything_is_told_in_order(task: Task) -> None:
    tracker = Recorder()
    told = TrackingQueue(tracker)
    told.describe(task)
    told.begin(task)
    told.curve(task, [])
    told.complete(task, result(task), task)
    told.fail(task, "why")
    assert tracker.told == []
    tracker.gate.set()
    told.flush()
    assert tracker.told == [
        "describe train",
        "begin train",
        "curve train 0",
        "complete train {'x': 1.0} True",
        "fail train why",
    ]


def test_what_will_be_told_counts_as_complete_unless_it_fails_later(task: Task) -> None:
    tracker = Recorder()
    told = TrackingQueue(tracker)
    assert not told.is_complete(task.digest)
    told.complete(task, result(task))
    assert told.is_complete(task.digest)
    told.fail(task, "why")
    assert not told.is_complete(task.digest)
    tracker.held.add(task.digest)
    assert told.is_complete(task.digest)
    tracker.gate.set()
    told.flush()


def test_a_mistake_in_the_tracker_is_raised_and_not_lost_with_its_thread(task: Task) -> None:
    tracker = Recorder()
    tracker.gate.set()
    told = TrackingQueue(tracker)
    told.tag(task.digest, {})
    told.begin(task)
    with pytest.raises(LookupError, match="a mistake of ours"):
        told.flush()
    with pytest.raises(LookupError, match="a mistake of ours"):
        told.begin(task)
