"""Checkpoints on their way: beside the training, whole or not at all, whatever is killed when."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch

from dfm_core.catalog.datasets import DataShape
from dfm_core.training.engine import OwnedPiece, PlainEngine, StateKind
from dfm_core.training.state import SnapshotCard, build_model
from orchestration.artifacts.training_artifacts import TrainingArtifacts
from orchestration.common.background import in_background
from orchestration.storage.retry import RetryPolicy, StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.training.checkpoint_upload import StateUploads
from tests.support.checkpoints import CheckpointUploads, newest_sound_step, read_checkpoint
from tests.support.process_group import CONFIG

STD = (0.6, 0.2)


class Worker(PlainEngine):
    """One worker of two that hold the same weights, which differ after every step."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(build_model(CONFIG, DataShape(1, 10), STD), CONFIG.training)
        self.rank, self.world_size = rank, world_size

    def pieces(self, kind: StateKind, *, frozen: bool = False) -> Iterator[OwnedPiece]:
        for name, offset, values in super().pieces(kind, frozen=frozen):
            first, rest = divmod(values.numel(), self.world_size)
            begin = first * self.rank + min(self.rank, rest)
            yield OwnedPiece(name, offset + begin, values[begin : begin + first + (self.rank < rest)])

    def steps(self, num_steps: int) -> Worker:
        for _ in range(num_steps):
            sum(p.square().sum() for p in self.model.parameters()).backward()
            self.step(1e-2)
        return self


class KilledError(Exception):
    """Stands for a SIGKILL: nothing after it happens."""


class WatchedStore(Store):
    """Calls a function before each change of the store: it may wait, or kill."""

    def __init__(self, root: str, before: Callable[[str], None]) -> None:
        super().__init__(root, retry_policy=RetryPolicy(call_seconds=0.1, retry_seconds=0.1))
        self._before = before

    def write(self, relative: str, content: bytes) -> None:
        self._before(f"write {relative}")
        super().write(relative, content)

    def put(self, local: Path, relative: str) -> None:
        self._before(f"put {relative}")
        super().put(local, relative)

    def remove(self, relative: str) -> None:
        self._before(f"remove {relative}")
        super().remove(relative)


def uploads(store: Store, worker: Worker, attempt: str = "attempt", keep: int = 9) -> CheckpointUploads:
    return CheckpointUploads(TrainingArtifacts(store, "digest"), worker, attempt, keep)


def save_both(store: Store, step: int, attempt: str, keep: int = 9) -> None:
    """A checkpoint of two workers; the second's shard arrives first."""
    for rank in (1, 0):
        saver = uploads(store, Worker(rank, 2).steps(step), attempt, keep)
        saver.save(step)
        saver.finish()


def assert_holds(store: Store, step: int) -> None:
    _, tensors = read_checkpoint(TrainingArtifacts(store, "digest"), step)
    for name, weight in Worker().steps(step).tensors("weight"):
        assert torch.equal(tensors["weight"][name], weight.flatten())
    assert len(tensors["weight"]) == len(list(Worker().model.parameters()))


def test_the_training_goes_on_while_its_checkpoint_is_on_its_way(tmp_path: Path) -> None:
    gate = threading.Event()
    store = WatchedStore(str(tmp_path), lambda _: assert_true(gate.wait(60)))
    worker = Worker().steps(1)
    saver = uploads(store, worker)
    saver.save(1)
    assert TrainingArtifacts(store, "digest").checkpoint_steps() == []
    worker.steps(3)  # must not reach into what was saved
    gate.set()
    saver.finish()
    assert_holds(store, 1)


def test_a_snapshot_is_on_its_way_too_and_told_once_it_is_there(tmp_path: Path) -> None:
    gate, told = threading.Event(), list[bool]()
    store = WatchedStore(str(tmp_path), lambda _: assert_true(gate.wait(60)))
    artifacts, worker = TrainingArtifacts(store, "digest"), Worker().steps(1)
    there = partial(artifacts.missing_snapshots, [1])
    snapshot = artifacts.snapshot(
        CONFIG, SnapshotCard(1, DataShape(1, 10), STD), None, lambda: told.append(not there())
    )
    saver = StateUploads(store, worker, "attempt")
    saver.save(1, [snapshot, artifacts.checkpoint(worker, 1, keep=1)])
    assert (there(), told) == ([1], [])
    gate.set()
    saver.finish()
    assert told == [True]
    assert_holds(store, 1)


def test_what_a_save_reports_is_reported_when_its_upload_is_over(tmp_path: Path) -> None:
    reported, waits = list[int](), list[int]()

    @contextmanager
    def waiting() -> Iterator[None]:
        waits.append(len(reported))
        yield

    store, worker = Store(str(tmp_path)), Worker()
    saver = StateUploads(store, worker, "attempt", waiting)
    artifacts = TrainingArtifacts(store, "digest")
    for step in (1, 2):
        saver.save(step, [artifacts.checkpoint(worker, step, keep=1)], partial(reported.append, step))
        assert reported == list(range(1, step))
    saver.save(3, [])  # of a step without a checkpoint nothing is reported
    saver.finish()
    assert reported == [1, 2]
    assert waits == [0, 1, 2, 2]  # the storage is waited for, and nothing else is left out of a step's time


def assert_true(value: bool) -> None:
    assert value


def test_the_next_save_waits_for_the_one_before_and_says_for_how_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_their_way, most, waited_for = set(), [0], list[threading.Event]()

    def upload(name: str, work: Callable[[], None]) -> Future[None]:
        waited_for.append(asked := threading.Event())
        under_way = in_background(name, work)
        result = under_way.result

        def ask() -> None:
            asked.set()
            result()

        monkeypatch.setattr(under_way, "result", ask)
        return under_way

    def slow(change: str) -> None:
        """Is slower than the training, however slow that is: until somebody waits for it."""
        if change.startswith("put"):
            on_their_way.add(change)
            most[0] = max(most[0], len(on_their_way))
            assert waited_for[-1].wait(60)
            on_their_way.remove(change)

    monkeypatch.setattr("orchestration.training.checkpoint_upload.in_background", upload)

    worker = Worker()
    saver = uploads(WatchedStore(str(tmp_path), slow), worker)
    with caplog.at_level(logging.WARNING):
        for step in (1, 2, 3):
            saver.save(step)
        saver.finish()
    assert most == [1]
    assert re.search(r"step 2 waited [0-9.]+ s for the upload of step 1's checkpoint", caplog.text)
    assert re.search(r"the end waited [0-9.]+ s for the upload of step 3's checkpoint", caplog.text)


@pytest.mark.proves(10)
@pytest.mark.parametrize("ask", ["save", "finish"])
def test_a_failed_upload_fails_the_training_and_leaves_the_checkpoint_before(tmp_path: Path, ask: str) -> None:
    def refuse_the_second(change: str) -> None:
        if "step-000000002" in change:
            raise StorageUnavailableError("s3://bucket: away")

    store = WatchedStore(str(tmp_path), refuse_the_second)
    worker = Worker()
    saver = uploads(store, worker, keep=1)
    for step in (1, 2):
        worker.steps(1)
        saver.save(step)
    asked = saver.finish if ask == "finish" else lambda: saver.save(3)
    with pytest.raises(StorageUnavailableError, match="away"):
        asked()
    assert newest_sound_step(TrainingArtifacts(store, "digest"), at_most=9) == 1
    assert_holds(store, 1)


def test_nothing_is_published_before_the_last_receipt(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    first = uploads(store, Worker(0, 2).steps(1))
    first.save(1)
    time.sleep(0.3)
    assert TrainingArtifacts(store, "digest").checkpoint_steps() == []
    second = uploads(store, Worker(1, 2).steps(1))
    second.save(1)
    second.finish()
    first.finish()
    manifest = store.manifest("checkpoints/digest/step-000000001")
    assert manifest is not None
    assert len(manifest["files"]) == manifest["about"]["world_size"] == 2
    assert_holds(store, 1)


def test_a_receipt_that_never_comes_is_an_error_that_names_it(tmp_path: Path) -> None:
    saver = uploads(WatchedStore(str(tmp_path), lambda _: None), Worker(0, 2).steps(1))
    saver.save(1)
    with pytest.raises(StorageUnavailableError, match=r"step-000000001: receipt-00001\.attempt\.json never came"):
        saver.finish()


def test_what_a_killed_attempt_left_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    left = uploads(store, Worker(1, 2).steps(5), "killed")  # other weights, as on other hardware
    left.save(1)
    left.finish()
    first = uploads(store, Worker(0, 2).steps(1), "alive")
    first.save(1)
    time.sleep(0.2)
    assert TrainingArtifacts(store, "digest").checkpoint_steps() == []
    second = uploads(store, Worker(1, 2).steps(1), "alive")
    second.save(1)
    second.finish()
    first.finish()
    assert_holds(store, 1)
    names = store.names("checkpoints/digest/step-000000001")
    assert [name for name in names if "killed" in name or "receipt" in name] == []


@pytest.mark.proves(14)
def test_a_kill_at_any_moment_leaves_the_checkpoint_before_or_the_new_one(tmp_path: Path) -> None:
    seen = set()
    for moment in range(100):
        store = Store(str(tmp_path / str(moment)))
        save_both(store, 1, "first", keep=1)
        changes_left = [moment]

        def kill(_: str, left: list[int] = changes_left) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KilledError

        try:
            save_both(WatchedStore(store.root, kill), 2, "second", keep=1)
        except (KilledError, StorageUnavailableError):
            pass
        else:
            break
        newest = newest_sound_step(TrainingArtifacts(store, "digest"), at_most=9)
        assert_holds(store, newest)
        seen.add(newest)
        save_both(store, 2, "third", keep=1)
        assert_holds(store, 2)
        assert store.names("checkpoints/digest") == ["step-000000002"]
    assert seen == {1, 2}
    assert moment >= 8  # two shards, two receipts, a manifest, and what is removed after it


def test_a_checkpoint_that_is_made_again_is_never_damaged_in_between(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    save_both(store, 1, "first")
    second = uploads(store, Worker(1, 2).steps(4), "second")  # on other hardware bits differ: nothing written over
    second.save(1)
    second.finish()
    assert_holds(store, 1)
    document = json.loads(store.read("checkpoints/digest/step-000000001/manifest.json"))
    assert {"first" in entry["name"] for entry in document["files"]} == {True}


def test_a_storage_that_removes_nothing_ends_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    refuses = True

    def refuse_to_remove(change: str) -> None:
        if refuses and change.startswith("remove"):
            raise PermissionError("no DeleteObject for this key")

    store = WatchedStore(str(tmp_path), refuse_to_remove)
    save_both(store, 1, "first", keep=1)
    save_both(store, 2, "second", keep=1)
    assert_holds(store, 2)
    assert "superseded checkpoints stay for now: PermissionError: no DeleteObject for this key" in caplog.text
    assert TrainingArtifacts(store, "digest").checkpoint_steps() == [1, 2]
    refuses = False
    save_both(store, 3, "third", keep=1)
    assert TrainingArtifacts(store, "digest").checkpoint_steps() == [3]
