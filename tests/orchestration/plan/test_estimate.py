"""The plan's estimate: measured speed where a training of that size is on record, the assumed one elsewhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orchestration.config.workers import WorkersConfig
from orchestration.control.budget_meter import HOUR, BudgetMeter, hours
from orchestration.control.outcome import stop_requested
from orchestration.launch.summary import compared_text, early_exit_text
from orchestration.plan.completed import completed_records
from orchestration.plan.estimate import Estimate, estimate_from, is_short
from orchestration.plan.measuring_cost import looking_flops
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.progress import progress_of
from orchestration.plan.throughput import Speed
from orchestration.spec.load import load_sweep
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.orchestration.conftest import QUICKSTART
from tests.support.stored_sweeps import finish, publish, publish_checkpoint, tiny_plan

OTHER = "training.learning_rate=0.001"


def estimated(store: Store, plan: Plan) -> Estimate:
    done = completed_records(store, plan)
    return estimate_from(store, plan, done, progress_of(store, plan, done))


def train_of(plan: Plan, store: Store, seconds: float, device: str = "cpu", gpu: str = "", **about: float) -> float:
    """Finishes the plan's training. Returns its FLOPs."""
    (train,) = plan.of_kind(TrainTask)
    metrics = {"accelerator_seconds": seconds, "training_flops": float(train.flops)}
    finish(store, train, metrics, device=device, worker={"gpu": gpu} if gpu else {}, **about)
    return float(train.flops)


def test_without_a_finished_training_the_speed_is_assumed_and_said_to_be(store: Store) -> None:
    plan = tiny_plan()
    found = estimated(store, plan)
    assert "at an assumed 2.5e+10 FLOP/s a worker (workers.assumed_flops_per_worker)" in str(found)
    assert found.startup_seconds == 15.0 * plan.spec.runtime.workers.num_workers
    assert f", {hours(found.startup_seconds)} of them to start workers." in str(found)
    # Each image on each network of each task, and sampling with 30% for all beside it.
    evaluations, looks = plan.of_kind(EvaluateTask), [looking_flops(task) for task in plan.tasks.values()]
    measured = sum(map(looking_flops, evaluations))
    flops = found.training_flops + 1.3 * (found.sampling_flops + measured) + sum(looks) - measured
    expected = flops / 2.5e10 + 0.25 * len(evaluations) + found.startup_seconds
    assert found.accelerator_seconds == pytest.approx(expected)
    assert measured == sum(task.config.evaluation.num_samples for task in evaluations) * 2.1e8


def test_the_assumed_speed_is_that_of_the_device_unless_it_is_given(store: Store) -> None:
    on_gpus = ("workers.use_gpu=true", "workers.gpus_per_evaluator=1.0")
    slow, fast = estimated(store, tiny_plan()), estimated(store, tiny_plan(*on_gpus))
    assert "at an assumed 1e+14 FLOP/s a worker (workers.assumed_flops_per_worker)" in str(fast)
    assert fast.accelerator_seconds < slow.accelerator_seconds
    mixed = estimated(store, tiny_plan("workers.use_gpu=true")).accelerator_seconds
    assert fast.accelerator_seconds < mixed < slow.accelerator_seconds, "evaluators are on CPUs"
    given = estimated(store, tiny_plan(*on_gpus, "workers.assumed_flops_per_worker=3.0e+12"))
    assert "at an assumed 3e+12 FLOP/s" in str(given)


def test_hours_of_all_workers_are_told_beside_the_time_that_passes(store: Store) -> None:
    found = replace(estimated(store, tiny_plan()), accelerator_seconds=1036.8, num_workers=2, num_bytes=6 * 10**12)
    assert "about 6.0 TB; about 9 minutes on 2 workers, 0.288 accelerator-hours at an assumed" in str(found)


def test_a_finished_training_of_another_sweep_and_the_same_size_gives_the_speed(store: Store) -> None:
    other = tiny_plan(OTHER)
    publish(store, other, "other")
    flops = train_of(other, store, seconds=50.0)
    plan = tiny_plan()
    found = estimated(store, plan)
    assert f"at {flops / 50:.2g} FLOP/s a worker, measured on 1 finished training of size nano" in str(found)
    assert "assumed" not in str(found)


def test_the_start_of_workers_is_learned_and_does_not_slow_the_steps(store: Store) -> None:
    # A training of seconds is mostly start: its steps are no slower for it.
    other = tiny_plan(OTHER, "workers.num_workers=2")
    publish(store, other, "other")
    flops = train_of(other, store, seconds=50.0, startup_seconds=20.0, world_size=2)
    found = estimated(store, tiny_plan("workers.num_workers=2"))
    assert f"at {flops / 10:.2g} FLOP/s a worker" in str(found)
    assert found.startup_seconds == 40.0


def test_what_is_computed_anew_takes_time_and_is_no_work_that_counts(store: Store) -> None:
    kept, anew = (estimated(store, tiny_plan(f"workers.activation_checkpointing={on}")) for on in ("false", "true"))
    assert anew.training_flops == kept.training_flops
    more = anew.accelerator_seconds - kept.accelerator_seconds
    assert more == pytest.approx(kept.training_flops / 3 / 2.5e10)


def test_a_speed_is_of_what_was_executed(store: Store) -> None:
    other = tiny_plan(OTHER)
    publish(store, other, "other")
    (train,) = other.of_kind(TrainTask)
    flops = train_of(other, store, seconds=50.0, executed_flops=2.0 * train.flops)
    assert f"at {2 * flops / 50:.2g} FLOP/s a worker" in str(estimated(store, tiny_plan()))


def test_evaluations_cost_what_those_on_record_did(store: Store) -> None:
    other = tiny_plan(OTHER)
    publish(store, other, "other")
    first = other.of_kind(EvaluateTask)[0]
    finish(store, first, {"accelerator_seconds": 40.0, "sampling_flops": float(first.flops)})
    plan = tiny_plan()
    found, evaluations = estimated(store, plan), plan.of_kind(EvaluateTask)
    beside = sum(looking_flops(task) for task in plan.tasks.values() if not isinstance(task, EvaluateTask))
    rest = found.startup_seconds + (found.training_flops + beside) / 2.5e10
    assert found.accelerator_seconds == pytest.approx(40.0 * len(evaluations) + rest)


def test_workers_that_trainings_share_start_cold_once(store: Store) -> None:
    plan = make_plan(load_sweep(QUICKSTART))
    workers = plan.spec.runtime.workers
    assert estimated(store, plan).startup_seconds == pytest.approx((15.0 + 2 * 1.2) * workers.num_workers)
    alone = make_plan(load_sweep(QUICKSTART, ["workers.reuse_under_minutes=0"]))
    assert estimated(store, alone).startup_seconds == 3 * 15.0 * workers.num_workers


def test_a_long_training_counts_more_than_a_short_one(store: Store) -> None:
    for number, seconds in enumerate((10.0, 90.0)):
        other = tiny_plan(f"training.learning_rate=0.00{number + 1}")
        publish(store, other, f"other{number}")
        flops = train_of(other, store, seconds)
    assert f"at {2 * flops / 100:.2g} FLOP/s a worker, measured on 2 finished trainings" in str(
        estimated(store, tiny_plan())
    )


def test_of_two_kinds_of_gpu_that_with_the_most_time_gives_the_speed(store: Store) -> None:
    for number, (seconds, gpu) in enumerate(((10.0, "A100"), (20.0, "H100"), (15.0, "H100"))):
        other = tiny_plan(f"training.learning_rate=0.00{number + 1}")
        publish(store, other, f"other{number}")
        flops = train_of(other, store, seconds, "cuda:0", gpu)
    found = estimated(store, tiny_plan("workers.use_gpu=true"))
    assert f"at {2 * flops / 35:.2g} FLOP/s a worker, measured on 2 finished trainings of size nano on H100" in str(
        found
    )


@pytest.mark.parametrize(
    ("overrides", "device"), [(["model.size=micro"], "cpu"), ([], "cuda:0")], ids=["another size", "another device"]
)
def test_what_is_not_alike_gives_no_speed(store: Store, overrides: list[str], device: str) -> None:
    other = tiny_plan(OTHER, *overrides)
    publish(store, other, "other")
    train_of(other, store, 50.0, device)
    assert "at an assumed" in str(estimated(store, tiny_plan()))


def test_a_plan_that_cannot_be_read_does_not_stop_an_estimate(store: Store) -> None:
    store.write("plans/broken.json", b"{")
    assert "at an assumed" in str(estimated(store, tiny_plan()))


def test_steps_that_are_made_are_not_estimated_again(store: Store) -> None:
    plan = tiny_plan()
    before = estimated(store, plan)
    publish_checkpoint(store, plan.of_kind(TrainTask)[0].digest, 9)
    assert estimated(store, plan).training_flops == pytest.approx(before.training_flops / 4)


def test_trainings_of_few_minutes_by_measured_or_assumed_speed_are_short() -> None:
    (train,) = tiny_plan().of_kind(TrainTask)
    per_worker = train.flops / 2 / 60  # FLOP/s with which two workers take a minute
    one, none = WorkersConfig(reuse_under_minutes=1.0), WorkersConfig(reuse_under_minutes=0.0)
    for factor, expected in ((1.01, True), (0.99, False)):
        assumed = replace(one, assumed_flops_per_worker=factor * per_worker)
        assert is_short(train, assumed, {}) is expected
        speeds = {train.config.model.size: Speed(factor * per_worker, 1)}
        assert is_short(train, one, speeds) is expected
        assert not is_short(train, none, speeds)
    assert not is_short(tiny_plan().of_kind(EvaluateTask)[0], one, {})  # as of an autoencoder, nobody knows


def test_the_end_compares_estimate_and_cost() -> None:
    guess = Estimate(3, 1.0, 1.0, 1, 2 * HOUR, "at an assumed 1e+10 FLOP/s a worker")
    now = 0.0
    meter = BudgetMeter({"before": 5.0}, WorkersConfig(num_workers=3), lambda: now)
    now += HOUR
    meter.tick(["a"], [], 0, held=4.0)
    text = compared_text(guess, meter)
    assert text.startswith("This run held 4 accelerator-hours and worked in 3 of them. The plan had estimated 2")
    assert "the work took 1.5 times as long" in text
    text = early_exit_text(stop_requested(), guess)
    assert text.startswith("Stopped: it was asked to by `--stop`. 3 tasks are left, about 2 accelerator-hours at an ")
    assert text.endswith("To go on: the same command goes on from here.")
