"""Accelerator-seconds: what counts, once, and when a limit is reached."""

from __future__ import annotations

import pytest

from orchestration.artifacts.checkpoint_index import newest_checkpoint
from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import HOUR, BudgetMeter
from orchestration.control.outcome import budget_spent
from orchestration.plan.progress import progress_of
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from tests.support.stored_sweeps import beat, finish, publish_checkpoint, tiny_plan


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_training_costs_its_workers_times_wall_time() -> None:
    clock = Clock()
    meter = BudgetMeter({}, WorkersConfig(num_workers=4), clock)
    clock.now += 10
    meter.tick(["a", "b"], [], 2, held=8)
    assert meter.of("a") == 40
    assert meter.busy_in_this_launch == meter.spent == 80


def test_what_is_held_without_work_is_spent_and_no_task_is_charged_for_it() -> None:
    clock = Clock()
    meter = BudgetMeter({}, WorkersConfig(num_workers=2), clock)
    clock.now += 10
    meter.tick(["a"], [], 0, held=6)
    clock.now += 5
    meter.tick([], [], 0, held=4)
    meter.ended("a", 12.0)
    clock.now += 100
    meter.tick([], [], 0, held=0)  # given back
    assert meter.spent == meter.held_in_this_launch == 80
    assert meter.busy_in_this_launch == meter.of("a") == 12


def test_evaluators_cost_the_same_however_many_tasks_they_measure() -> None:
    clock = Clock()
    meter = BudgetMeter({}, WorkersConfig(), clock)
    clock.now += 6
    meter.tick([], ["a", "b", "c"], 2, held=2)
    assert meter.busy_in_this_launch == pytest.approx(12)
    clock.now += 6
    meter.tick([], [], 2, held=2)  # idle
    assert meter.busy_in_this_launch == pytest.approx(12)


def test_workers_that_wait_for_resources_cost_nothing() -> None:
    clock = Clock()
    meter = BudgetMeter({}, WorkersConfig(num_workers=2), clock)
    clock.now += 60
    meter.tick(["a", "b"], [], 0, held=0)
    assert meter.spent == meter.of("a") == 0
    clock.now += 10
    meter.tick(["a", "b"], [], 0, held=2)  # one of them has begun
    assert meter.spent == meter.busy_in_this_launch == 20


def test_a_record_takes_the_place_of_what_was_counted_for_its_task() -> None:
    clock = Clock()
    meter = BudgetMeter({"a": 30.0, "before": 5.0}, WorkersConfig(num_workers=1), clock)
    clock.now += 20
    meter.tick(["a"], [], 0, held=1)
    assert meter.of("a") == 50
    meter.ended("a", 48.0)  # over all attempts, the 30 seconds of the first among them
    assert meter.of("a") == 48
    assert meter.busy_in_this_launch == 18
    assert meter.spent == 55


def test_what_failed_has_cost_too() -> None:
    clock = Clock()
    meter = BudgetMeter({"a": 30.0}, WorkersConfig(num_workers=1), clock)
    clock.now += 20
    meter.tick(["a"], [], 0, held=1)
    meter.ended("a", None)
    assert meter.of("a") == meter.spent == 50


def test_the_sweeps_limit_counts_earlier_submissions() -> None:
    workers = WorkersConfig(num_workers=1, max_accelerator_hours=1.0)
    clock = Clock()
    meter = BudgetMeter({"before": HOUR - 10}, workers, clock)
    assert not meter.is_spent
    clock.now += 10
    meter.tick(["a"], [], 0, held=1)
    assert meter.is_spent
    assert not BudgetMeter({"before": 99 * HOUR}, WorkersConfig()).is_spent


def test_what_was_stopped_without_a_record_is_known_from_the_heartbeat_and_counts(store: Store) -> None:
    plan = tiny_plan()
    (train,) = plan.of_kind(TrainTask)
    publish_checkpoint(store, train.digest, 4, {"accelerator_seconds": 40.0})
    beat(store, phase="ended", accelerator_seconds=HOUR)
    found = progress_of(store, plan, {})
    assert found.spent == HOUR
    meter = BudgetMeter(found.seconds, WorkersConfig(max_accelerator_hours=1.0), counted=found.counted)
    assert meter.is_spent
    assert meter.busy_in_this_launch == 0
    meter.ended(train.digest, 60.0)
    assert meter.spent == HOUR
    assert meter.busy_in_this_launch == 20
    beat(store, accelerator_seconds=30.0)
    assert progress_of(store, plan, {}).spent == 40


def test_a_damaged_heartbeat_leaves_what_records_say(store: Store) -> None:
    store.write("status/quickstart.json", b"{")
    assert progress_of(store, tiny_plan(), {}).spent == 0


def test_a_training_that_spent_its_limit_is_not_started_again() -> None:
    meter = BudgetMeter({"a": 2 * HOUR, "b": HOUR}, WorkersConfig(max_accelerator_hours_per_training=2.0))
    reason = meter.exhausted("a")
    assert "has spent 2 of its 2 accelerator-hours (workers.max_accelerator_hours_per_training)" in reason
    assert "submit again with a higher limit" in reason
    assert meter.exhausted("b") == ""
    assert BudgetMeter({"a": 2 * HOUR}, WorkersConfig()).exhausted("a") == ""


def test_a_spent_budget_proposes_a_limit_with_which_it_goes_on() -> None:
    meter = BudgetMeter({"a": 1.5 * HOUR}, WorkersConfig(max_accelerator_hours=1.0))
    early_exit = budget_spent(meter, 1.0)
    assert early_exit.reason.startswith("1.5 of 1 accelerator-hours are spent")
    assert "--max-accelerator-hours 3" in early_exit.how_to_go_on


def test_an_unfinished_training_cost_what_its_newest_checkpoint_says(store: Store) -> None:
    plan = tiny_plan()
    (train,) = plan.of_kind(TrainTask)
    publish_checkpoint(store, train.digest, 4, {"seconds": 1.0, "accelerator_seconds": 20.0})
    publish_checkpoint(store, train.digest, 8, {"seconds": 2.0, "accelerator_seconds": 40.0})
    store.write(f"checkpoints/{train.digest}/step-000000012/state-00000.safetensors", b"half")
    found = progress_of(store, plan, {})
    assert found.seconds == {train.digest: 40.0}
    assert found.steps == {train.digest: 8}


def test_a_finished_training_cost_what_its_record_says(store: Store) -> None:
    plan = tiny_plan()
    (train,) = plan.of_kind(TrainTask)
    publish_checkpoint(store, train.digest, 12, {"accelerator_seconds": 40.0})
    record = finish(store, train, {"accelerator_seconds": 41.0})
    found = progress_of(store, plan, {train.digest: record})
    assert found.seconds == {train.digest: 41.0}
    assert found.steps == {}


def test_a_training_that_is_to_go_on_cost_its_record_and_what_came_after(store: Store) -> None:
    plan = tiny_plan()
    (train,) = plan.of_kind(TrainTask)
    write_record(store, TaskRecord(train.digest, "train", {"accelerator_seconds": 30.0}, 1.0, step=6))
    publish_checkpoint(store, train.digest, 8, {"accelerator_seconds": 40.0})
    assert progress_of(store, plan, {}).seconds == {train.digest: 40.0}


@pytest.mark.parametrize("spent", [None, {}, {"accelerator_seconds": "many"}, {"accelerator_seconds": float("nan")}])
def test_a_checkpoint_that_says_no_cost_counts_as_none(store: Store, spent: dict[str, object] | None) -> None:
    publish_checkpoint(store, "a", 4, spent)
    found = newest_checkpoint(store, "a")
    assert found is not None
    assert (found.step, found.accelerator_seconds) == (4, 0.0)
