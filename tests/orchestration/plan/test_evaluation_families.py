"""Which evaluations are sampled together, and when they can begin."""

from __future__ import annotations

import pytest

from dfm_core.flow.step_tree import StepTree
from orchestration.artifacts.task_record import TaskRecord
from orchestration.plan.evaluation_families import AvailableSnapshots, family_flops, group_into_families
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, TrainTask
from tests.orchestration.conftest import QUICKSTART

RAW = "parts={p: {rows: {averaged: {}, raw: {sampling.weights: raw}}}}"


def plan(*overrides: str) -> Plan:
    return make_plan(load_sweep(QUICKSTART, overrides))


def titles(made: Plan) -> list[list[str]]:
    return [[task.title for task in family] for family in group_into_families(made.of_kind(EvaluateTask))]


STEPS = "parts={p: {grid: {sampling.steps: [[9, 1], [9, 2], [6, 2]], sampling.tau: [0.7, 0.9]}}}"


def test_settings_of_one_snapshot_run_together_if_they_have_steps_in_common() -> None:
    assert titles(plan("evaluation.at_steps=[700]", STEPS)) == [
        ["steps=9+1, τ 0.7 @ 700", "steps=9+2, τ 0.7 @ 700"],
        ["steps=9+1, τ 0.9 @ 700", "steps=9+2, τ 0.9 @ 700"],
        ["steps=6+2, τ 0.7 @ 700"],
        ["steps=6+2, τ 0.9 @ 700"],
    ]


def test_settings_that_part_at_the_first_step_can_run_side_by_side() -> None:
    assert ["DFM @ 700"] in titles(plan())
    assert ["p₀ 0.7, τ 0.9 @ 700"] in titles(plan())


def test_trainings_and_snapshots_are_apart() -> None:
    made = plan("evaluation.at_steps=[100, 700]", STEPS, "seeds=[0, 1]")
    assert len(titles(made)) == 4 * 2 * 2


def test_taking_families_apart_loses_no_shared_step() -> None:
    tasks = make_plan(load_sweep(QUICKSTART.with_name("figure3_small.yaml"))).of_kind(EvaluateTask)
    averaged = [task for task in tasks if task.config.sampling.weights == "ema"]
    whole = StepTree.of(averaged[0].config, [task.config.sampling for task in averaged]).num_evaluations
    trees = [StepTree.of(f[0].config, [task.config.sampling for task in f]) for f in group_into_families(averaged)]
    assert sum(tree.num_evaluations for tree in trees) == whole == 419


@pytest.mark.parametrize("rows", ["{evaluation.seed: 1}", "{evaluation.num_samples: 20}", "{sampling.weights: raw}"])
def test_other_noise_numbers_or_weights_are_not_sampled_together(rows: str) -> None:
    made = plan("evaluation.at_steps=[700]", f"parts={{p: {{rows: {{usual: {{}}, other: {rows}}}}}}}")
    assert titles(made) == [["usual @ 700"], ["other @ 700"]]


def test_a_family_costs_its_unique_steps_alone() -> None:
    grid = "parts={p: {grid: {sampling.steps: [[9, 1], [9, 2], [9, 3]], sampling.guidance: [1.0]}}}"
    (family,) = group_into_families(plan("evaluation.at_steps=[700]", grid).of_kind(EvaluateTask))
    alone = sum(task.flops for task in family)
    assert family_flops(family) / alone == pytest.approx((9 + 1 + 2 + 3) / (10 + 11 + 12), rel=1e-9)


def test_a_snapshot_can_be_sampled_as_soon_as_it_is_published(store: Store) -> None:
    made = plan()
    train = made.of_kind(TrainTask)[0]
    store.publish(TaskPaths(train.digest).snapshot(100), [])
    there = AvailableSnapshots(store, made, {})
    assert there.has(train.digest, 100, raw=False)  # left by an earlier launch
    assert not there.has(train.digest, 350, raw=False)
    there.published([(train.digest, 350)])
    assert there.has(train.digest, 350, raw=False)
    there.trained(train)
    assert there.has(train.digest, 700, raw=False)


def test_raw_weights_are_waited_for_where_they_are_sampled(store: Store) -> None:
    made = plan(RAW, "evaluation.at_steps=[700]")
    (train,) = made.of_kind(TrainTask)
    paths = TaskPaths(train.digest)
    store.publish(paths.snapshot(700), [])
    assert not AvailableSnapshots(store, made, {}).has(train.digest, 700, raw=True)
    store.publish(paths.raw_weights(700), [])
    assert AvailableSnapshots(store, made, {}).has(train.digest, 700, raw=True)


def test_all_snapshots_of_a_finished_training_are_there(store: Store) -> None:
    made = plan()
    train = made.of_kind(TrainTask)[0]
    done = {train.digest: TaskRecord(train.digest, "train", {}, 1.0, step=700)}
    assert AvailableSnapshots(store, made, done).has(train.digest, 350, raw=False)
