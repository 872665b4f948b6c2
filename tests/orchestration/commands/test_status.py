"""`--status` and what an edit changes: known answers from a made-up store."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

import pytest

from orchestration.artifacts.task_record import TaskRecord
from orchestration.commands.status import SweepStatus, sweep_status
from orchestration.control.heartbeat import TaskProgress, Waiting
from orchestration.launch.standings import standing_lines
from orchestration.plan.completed import completed_records
from orchestration.plan.diff import changes_text
from orchestration.plan.plan import Plan
from orchestration.plan.progress import progress_of
from orchestration.storage.layout import heartbeat_file, plan_file
from orchestration.storage.store import Store
from orchestration.tasks.task import TrainTask
from tests.support.stored_sweeps import beat, finish, publish, publish_checkpoint, tiny_plan


def status(store: Store, plan: Plan) -> SweepStatus:
    done = completed_records(store, plan)
    return sweep_status(plan, done, store, progress_of(store, plan, done))


def test_of_a_sweep_that_was_never_submitted_all_is_to_do(store: Store) -> None:
    found = status(store, tiny_plan())
    assert found.driver == "No driver has run this sweep here."
    assert found.counts == {"done": 0, "running": 0, "failed": 0, "to do": 6}
    assert set(found.states.values()) == {"to do"}


def test_every_task_is_in_the_state_that_records_checkpoints_and_heartbeat_say(store: Store) -> None:
    plan = tiny_plan()
    reference, probe, floor, train, early, late = plan.tasks.values()
    finish(store, reference, {"accelerator_seconds": 60.0})
    publish_checkpoint(store, train.digest, 4, {"accelerator_seconds": 120.0})
    beat(
        store,
        running=(TaskProgress(train.digest, 6, 12, 0.5), TaskProgress(floor.digest, 0, 80, 0.0)),
        failed={probe.digest: "out of luck", reference.digest: "before it was done"},
        restarts={train.digest: 2, "evaluators": 1},
        accelerator_seconds=360.0,
    )
    found = status(store, plan)
    assert found.states == {
        reference.digest: "done",
        probe.digest: "FAILED: out of luck",
        floor.digest: "running: 0/80 images",
        train.digest: "running: 6/12 steps, 0.5 steps/s, ETA 0:12",
        early.digest: "to do",
        late.digest: "to do",
    }
    assert found.counts == {"done": 1, "running": 2, "failed": 1, "to do": 2}
    assert found.restarts == {"train dfm, seed=0": 2, "evaluators": 1}
    assert found.accelerator_seconds == 360.0
    assert found.driver.startswith("Running: driver 42 on there")


def test_what_waits_for_room_is_told_by_the_drivers_own_clock_while_it_runs(store: Store) -> None:
    now = time.time()
    waiting = (Waiting("2 trainings, each for 8 workers with 12 CPUs and 1 GPU", 598.0),)
    beat(store, written_at=now - 2, waiting=waiting)
    (line,) = status(store, tiny_plan()).waiting
    since = time.strftime("%H:%M:%S", time.localtime(now - 600))
    assert line == f"Waiting since {since}, for 9:58: 2 trainings, each for 8 workers with 12 CPUs and 1 GPU."
    beat(store, written_at=now, waiting=waiting, phase="ended", outcome="interrupted")
    assert status(store, tiny_plan()).waiting == ()


def test_nothing_runs_where_the_driver_has_ended_and_steps_that_are_made_are_told(store: Store) -> None:
    plan = tiny_plan()
    (train,) = plan.of_kind(TrainTask)
    publish_checkpoint(store, train.digest, 4, {"accelerator_seconds": 120.0})
    beat(store, phase="ended", outcome="interrupted", running=(TaskProgress(train.digest, 6, 12, 0.5),))
    found = status(store, plan)
    assert found.states[train.digest] == "to do, 4/12 steps are made"
    assert found.counts["running"] == 0
    assert found.accelerator_seconds == 120.0


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"driver": 1}'])
def test_a_damaged_heartbeat_hides_only_what_it_held(store: Store, content: bytes) -> None:
    plan = tiny_plan()
    finish(store, next(iter(plan.tasks.values())))
    store.write(heartbeat_file("quickstart"), content)
    found = status(store, plan)
    assert found.driver.startswith("Whether a driver is running is not known: ")
    assert found.counts["done"] == 1


def results(plan: Plan, values: Mapping[tuple[str, int], float]) -> dict[str, TaskRecord]:
    """Records of the last evaluations, by row and seed."""
    done = {}
    for trial in plan.trials:
        if (trial.row, trial.seed) in values:
            value, digest = values[trial.row, trial.seed], trial.evaluations[-1][1]
            metrics = {"fd_lite0_block10": value, "label_accuracy": 0.5}
            done[digest] = TaskRecord(digest, "evaluate", metrics, 1.0)
    return done


TWO_ROWS = ("parts={p: {rows: {A: {}, B: {sampling.tau: 0.9}}}}", "seeds=[0, 1, 2]")


def test_the_best_row_is_that_of_the_report_at_the_seeds_that_rows_have_in_common() -> None:
    plan = tiny_plan(*TWO_ROWS)
    values = {("A", 0): 5.0, ("A", 1): 1.0, ("B", 0): 2.0, ("B", 1): 2.0, ("B", 2): 9.0}
    best, *sentences = standing_lines(plan, results(plan, {**values, ("B", 2): 2.5}))
    assert best == "p: FD-Lite0 (block 10) 2, B @ 12, 2 seeds in common of 3 planned"
    assert sentences[0].startswith("  p: FD-Lite0 (block 10): not separable from the best (B): all other rows")
    (sentence,) = standing_lines(plan, results(plan, values))
    assert "no row is called best: by the 2 seeds that all compared rows have it would be B" in sentence


def test_a_row_that_failed_at_a_seed_is_not_called_best() -> None:
    plan = tiny_plan(*TWO_ROWS)
    values = {("A", 0): 1.0, ("A", 1): 1.1, **{("B", seed): 2.0 + seed / 10 for seed in range(3)}}
    failed = next(trial.trains[-1] for trial in plan.trials if (trial.row, trial.seed) == ("A", 2))
    lines = list(standing_lines(plan, results(plan, values), [failed]))
    assert lines[0] == "  p: FD-Lite0 (block 10): no row is called best: A would be, and failed at other seeds."


def test_a_value_that_is_no_number_is_nobodys_best() -> None:
    plan = tiny_plan(*TWO_ROWS)
    assert list(standing_lines(plan, results(plan, {("A", 0): math.nan, ("B", 0): 7.0}))) == []


def test_an_edit_is_told_by_what_it_adds_keeps_and_cancels(store: Store) -> None:
    publish(store, tiny_plan())
    assert changes_text(tiny_plan("sampling.tau=0.9"), store) == (
        "Against the published plan: adds 2 tasks (evaluate DFM @ 4, evaluate DFM @ 12); keeps 4 tasks; "
        "cancels 2 tasks (evaluate DFM @ 12, evaluate DFM @ 4); `--gc` says what they left behind."
    )


def test_a_longer_training_is_kept_and_told(store: Store) -> None:
    publish(store, tiny_plan())
    text = changes_text(tiny_plan("training.steps=20", "evaluation.at_steps=[4, 12, 20]"), store)
    assert text == (
        "Against the published plan: adds 1 task (evaluate DFM @ 20); keeps 6 tasks; takes 1 of their trainings from "
        "step 12 to 20; cancels nothing."
    )


def test_nothing_changed_is_said_too_and_a_new_sweep_has_nothing_to_compare(store: Store) -> None:
    assert changes_text(tiny_plan(), store) == ""
    publish(store, tiny_plan())
    assert changes_text(tiny_plan(), store) == "Against the published plan: nothing changed, 6 tasks."


@pytest.mark.proves(32)
def test_a_published_plan_of_another_format_is_named(store: Store) -> None:
    store.write(plan_file("quickstart"), b'{"format": 1}')
    assert "cannot be compared: " in changes_text(tiny_plan(), store)
    assert "has plan format 1, this version knows 2" in changes_text(tiny_plan(), store)
