"""The pool on a real Ray: any number of evaluators finds the same, and killed ones lose and double nothing."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import OutOfMemoryError

from orchestration.artifacts.task_record import read_record
from orchestration.config.runtime import RuntimeConfig
from orchestration.control.progress_board import start_progress_board
from orchestration.evaluation.pool import EvaluationPool
from orchestration.evaluation.worker import Evaluator
from orchestration.plan.evaluation_families import group_into_families
from orchestration.storage.store import Store
from orchestration.tasks.task import Task
from tests.support.measuring import (
    WORKERS,
    Bench,
    evaluation_of,
    metric,
    publish_snapshot,
    small_config,
    with_points,
)

pytestmark = pytest.mark.usefixtures("ray_here")
BLOCK10 = "fd_lite0_block10"
METRICS = (BLOCK10, "fd_lite0_head")
POINTS = ({"sampling.steps": (3, 1)}, {"sampling.steps": (3, 2)}, {"sampling.tau": (0.5,)})
MOST_SECONDS = 180


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pool") / "store"
    store = Store(str(root))
    config = small_config(evaluation__metrics=METRICS)
    publish_snapshot(store, config)
    Bench(store).prepare(config, 300)
    return root


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Store:
    return Store(str(shutil.copytree(prepared, tmp_path / "store")))


class Runner:
    """A pool, what it said, and the board that its evaluators write on."""

    def __init__(self, store: Store, num_evaluators: int, kind: type[Evaluator], **workers: Any) -> None:
        runtime = RuntimeConfig(workers=replace(WORKERS, **workers))
        name, self.board = start_progress_board()
        self.said: list[str] = []
        self.pool = EvaluationPool(store, runtime, num_evaluators, name, self.said.append, kind)

    def until_done(self, meanwhile: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Runs all jobs to their ends. Returns the reasons by digest; "" for what is done."""
        ended: dict[str, str] = {}
        deadline = time.monotonic() + MOST_SECONDS
        while self.pool.busy:
            assert time.monotonic() < deadline, "the pool does not come to an end"
            ended |= {task.digest: reason for task, reason in self.pool.collect()}
            meanwhile()
            time.sleep(0.02)
        return ended


@contextmanager
def pool(store: Store, num_evaluators: int, kind: type[Evaluator] = Evaluator, **workers: Any) -> Iterator[Runner]:
    runner = Runner(store, num_evaluators, kind, **workers)
    try:
        yield runner
    finally:
        for actor in runner.pool._actors:
            ray.kill(actor.handle)
        ray.kill(runner.board)


def family() -> list[Task]:
    return with_points(small_config(evaluation__metrics=METRICS, evaluation__num_samples=300), POINTS)


@pytest.fixture(scope="module")
def expected(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, float]]:
    """Results of one evaluator in this process."""
    store = Store(str(shutil.copytree(prepared, tmp_path_factory.mktemp("expected") / "store")))
    results = Bench(store).run(*family())
    return {found.digest: {name: metric(found, name) for name in METRICS} for found in results if found is not None}


def assert_expected(store: Store, expected: dict[str, dict[str, float]]) -> None:
    assert len(expected) == len(POINTS)
    for digest, values in expected.items():
        found = read_record(store, digest)
        for name, value in values.items():
            assert metric(found, name) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(("num_evaluators", "batch_size"), [(1, 50), (3, 40)])
def test_any_number_of_evaluators_and_any_batch_finds_the_same(
    store: Store, expected: dict[str, dict[str, float]], num_evaluators: int, batch_size: int
) -> None:
    with pool(store, num_evaluators, evaluation_batch_size=batch_size) as runner:
        runner.pool.submit(family())
        assert set(runner.until_done().values()) == {""}
        assert runner.said == []
    assert_expected(store, expected)


class Held(Evaluator):
    """The first that has measured a batch says who it is and goes no further: whoever kills it finds it at work."""

    def _reached(self, *what: Any) -> None:
        super()._reached(*what)
        with suppress(FileExistsError), Path(f"{self._store.root}.held").open("x") as file:
            print(os.getpid(), file=file, flush=True)
            time.sleep(600)


@pytest.mark.proves(31)
def test_a_killed_evaluator_is_replaced_and_nothing_is_lost_or_counted_twice(
    store: Store, expected: dict[str, dict[str, float]]
) -> None:
    held = Path(f"{store.root}.held")
    with pool(store, 2, Held, evaluation_batch_size=10) as runner:
        killed: list[int] = []
        progress: dict[str, int] = {}

        def kill_one_at_work() -> None:
            news = ray.get(runner.board.take_update.remote())
            progress.update(news.done)
            if not killed and any(done > 0 for done in news.done.values()) and held.exists() and held.read_text():
                killed.append(int(held.read_text()))
                os.kill(killed[0], signal.SIGKILL)

        tasks = family()
        runner.pool.submit(tasks)
        assert set(runner.until_done(kill_one_at_work).values()) == {""}
        kill_one_at_work()
        assert killed
        assert any("another takes its place" in line for line in runner.said)
        assert {digest: progress[digest] for digest in expected} == dict.fromkeys(expected, 300)
    assert_expected(store, expected)


def test_idle_evaluators_end_and_others_start_on_demand(store: Store, expected: dict[str, dict[str, float]]) -> None:
    with pool(store, 2) as runner:
        runner.pool.submit([evaluation_of(small_config(evaluation__num_samples=40))])
        runner.until_done()
        handles = [actor.handle for actor in runner.pool._actors]
        deadline = time.monotonic() + MOST_SECONDS
        while runner.pool.num_evaluators < 2:  # the one that had nothing to do may still be starting
            assert time.monotonic() < deadline
            runner.pool.collect()
        runner.pool.release_idle(3600.0)  # the other may have taken a minute to start
        assert runner.pool.num_evaluators == runner.pool.num_idle == 2
        time.sleep(0.5)
        runner.pool.release_idle(0.5)
        assert runner.pool.num_evaluators == 0
        for handle in handles:
            while is_there(handle):
                assert time.monotonic() < deadline
        runner.pool.submit(family())
        assert set(runner.until_done().values()) == {""}
        assert runner.pool.num_evaluators == 2
        assert runner.said == []
    assert_expected(store, expected)


def is_there(handle: Any) -> bool:
    try:
        ray.get(handle.ready.remote())
    except ray.exceptions.RayActorError:
        return False
    return True


def test_a_pool_that_is_abandoned_at_work_ends_at_once_and_another_goes_on(
    store: Store, expected: dict[str, dict[str, float]]
) -> None:
    with pool(store, 2, evaluation_batch_size=10) as runner:
        runner.pool.submit(family())
        deadline = time.monotonic() + MOST_SECONDS
        while not ray.get(runner.board.take_update.remote()).done:
            assert time.monotonic() < deadline, "no evaluator has begun"
            runner.pool.collect()
            time.sleep(0.02)
        handles = [actor.handle for actor in runner.pool._actors]
        runner.pool.abandon()
        assert not runner.pool.busy
        for handle in handles:
            while is_there(handle):  # on a busy machine the end takes a moment
                assert time.monotonic() < deadline, "an abandoned evaluator does not end"
    with pool(store, 2) as runner:
        runner.pool.submit(family())
        assert set(runner.until_done().values()) == {""}
    assert_expected(store, expected)


def test_features_that_were_damaged_are_made_anew_without_a_word_from_the_user(store: Store) -> None:
    task = evaluation_of(small_config(evaluation__num_samples=40))
    with pool(store, 1) as runner:
        runner.pool.submit([task])
        runner.until_done()
        value = metric(read_record(store, task.digest), BLOCK10)
        store.remove(f"results/{task.digest}")
        (damaged,) = Path(store.path(f"features/{task.sources[0].digest}")).glob("lite0-*/*")
        damaged.write_bytes(damaged.read_bytes()[:-1])
        runner.pool.submit([task])
        assert runner.until_done() == {task.digest: ""}
        assert any("are not there as they were written" in line and line.endswith("going on") for line in runner.said)
    assert metric(read_record(store, task.digest), BLOCK10) == value


def test_the_fault_of_one_task_leaves_the_others_alone(store: Store) -> None:
    sound = evaluation_of(small_config(evaluation__num_samples=40))
    lost = evaluation_of(small_config(evaluation__num_samples=40, evaluation__seed=1))
    lost = replace(lost, snapshots=(("no-such-training", 7),))
    with pool(store, 2) as runner:
        for job in group_into_families([sound, lost]):
            runner.pool.submit(job)
        ended = runner.until_done()
    assert ended[sound.digest] == ""
    assert "no artifact at" in ended[lost.digest]
    assert "FileNotFoundError" in ended[lost.digest]


def test_an_evaluator_that_never_starts_is_an_error_that_names_what_is_missing(store: Store) -> None:
    with pool(store, 1, cpus_per_worker=64, wait_for_workers_seconds=2.0) as runner:
        task = evaluation_of(small_config(evaluation__num_samples=40))
        runner.pool.submit([task])
        assert runner.until_done() == {task.digest: "no evaluator could start for 2 s: each needs 64 CPU(s) and 0 GPU"}


def test_evaluators_that_cannot_be_made_are_an_error_after_some_tries(store: Store) -> None:
    with pool(store, 1, max_failures=1) as runner:
        runner.pool._make = lambda: ray.remote(Broken).remote()
        ray.kill(runner.pool._actors[0].handle)
        task = evaluation_of(small_config(evaluation__num_samples=40))
        runner.pool.submit([task])
        (reason,) = runner.until_done().values()
    assert "evaluators cannot start" in reason
    assert "no driver on this node" in reason


class Broken:
    """An evaluator whose machine lacks something."""

    def __init__(self) -> None:
        raise RuntimeError("no driver on this node")

    def ready(self) -> None: ...


@pytest.mark.proves(9)
def test_an_evaluator_that_was_killed_for_its_memory_is_replaced_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray tells it by an error that is none of an actor, and tells it again at every later call."""
    task = evaluation_of(small_config(evaluation__num_samples=40))
    with pool(store, 1) as runner:
        get, killed = ray.get, list[Any]()

        def out_of_memory(reference: Any) -> Any:
            actor = runner.pool._actors[0]
            if reference in actor.calls and (not killed or killed[0] is actor):
                killed.append(actor)
                raise OutOfMemoryError("killed by the memory monitor")
            return get(reference)

        monkeypatch.setattr("orchestration.evaluation.pool.ray.get", out_of_memory)
        runner.pool.submit([task])
        assert runner.until_done() == {task.digest: ""}
        assert len(killed) == 1
        assert any("OutOfMemoryError" in line and "another takes its place" in line for line in runner.said)
