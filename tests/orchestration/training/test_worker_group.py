"""A training's own Ray Train run: seen by its name, with its numbers; its workers are replaced within it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from typing import Any

import pytest
import ray
from ray.train import Result

from orchestration.artifacts.task_record import read_record
from orchestration.cluster.token_file import read_token
from orchestration.config.workers import WorkersConfig
from orchestration.control.progress_board import start_progress_board
from orchestration.plan.plan import make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import FAULTS
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from orchestration.training.train_request import TrainRequest, request_of
from orchestration.training.worker_group import WorkerGroup, run_name
from orchestration.training.worker_group_pool import WorkerGroupPool
from tests.orchestration.conftest import QUICKSTART, TINY
from tests.support.sweeps import wait_until
from tests.support.train_processes import train_processes

SECONDS = 180
FROZEN = "1:3:freeze"


def frozen_worker(store: Store) -> int:
    """Return the process that stands still, and 0 as long as none does."""
    place = f"{FAULTS}/{FROZEN.replace(':', '-')}.json"
    return int(json.loads(store.read(place))["pid"]) if store.exists(place) else 0


def runs_in_the_dashboard() -> list[dict[str, Any]]:
    address = f"http://{ray._private.worker.get_dashboard_url()}/api/train/v2/runs/v1"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {read_token(os.environ)}"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        runs: list[dict[str, Any]] = json.load(answer)["train_runs"]
        return runs


@pytest.mark.proves(1)
@pytest.mark.usefixtures("ray_here")
def test_a_training_of_its_own_run_is_seen_by_name_and_goes_on_after_a_kill(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    monkeypatch.setenv("DFM_FAULT", FROZEN)  # so that it does not end while the dashboard is asked
    spec = load_sweep(QUICKSTART, [*TINY, f"storage.root={store.root}", "compute.allow_unequal=true"])
    (task, *_) = make_plan(spec).of_kind(TrainTask)
    workers = WorkersConfig(num_workers=2, checkpoint_every=2, log_every=1, max_failures=1, hung_after_seconds=600)
    wait_until(lambda: not train_processes(), "workers of an earlier test to end", seconds=SECONDS)
    name, board = start_progress_board()
    started: list[WorkerGroup] = []

    def start(only: TrainRequest | None) -> WorkerGroup:
        started.append(WorkerGroup(store, workers, only))
        return started[-1]

    groups = WorkerGroupPool(
        workers,
        lambda task: request_of(task, store, workers, name, system_metrics=True),
        start,
        is_short=lambda _task: False,
    )
    training = groups.submit(task)
    wait_until(lambda: training.done() or bool(frozen_worker(store)), "a worker to freeze", seconds=SECONDS)
    assert not training.done()
    (own,) = [run for run in runs_in_the_dashboard() if run["name"] == run_name(task)]
    assert own["status"] == "RUNNING"
    assert own["run_settings"]["train_loop_config"]["digest"] == task.digest
    os.kill(frozen_worker(store), signal.SIGKILL)
    training.result(SECONDS)

    (own,) = [run for run in runs_in_the_dashboard() if run["name"] == run_name(task)]
    assert own["status"] == "FINISHED"
    assert [attempt["status"] for attempt in own["attempts"]] == ["ERRORED", "FINISHED"]
    assert groups.num_open == 0
    wait_until(lambda: not train_processes(), "its workers to end", seconds=SECONDS)
    (group,) = started
    record, result = read_record(store, task.digest), group._run.result()
    assert isinstance(result, Result)
    assert record is not None
    assert result.metrics["step"] == task.until_step
    assert result.metrics["loss"] == record.curve[-1]["loss"]
    assert result.metrics["images_per_second"] == pytest.approx(
        result.metrics["steps_per_second"] * task.config.training.batch_size
    )
    assert len(result.best_checkpoints) == workers.keep_checkpoints
    assert result.checkpoint.path.rpartition("/")[2].startswith(f"step-{task.until_step:09d}-")
    update = ray.get(board.take_update.remote())
    assert list(update.lost) == [task.digest]
    (rows,) = update.rows.values()
    for row in rows:  # of two workers on one node
        assert {"loss", "data_wait_ms_per_step", "system/cpu_utilization_percentage"} < set(row)
    assert store.names("ray-train") == []
    ray.kill(board)
