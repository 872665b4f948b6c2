"""The plan: what is one task, what is shared, and what a digest depends on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from dfm_core.catalog.datasets import DATASETS
from dfm_core.compute import model_cost, sampling_flops, training_flops
from orchestration.artifacts.task_record import TaskRecord, write_record
from orchestration.plan.completed import completed_records, tasks_to_run
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.plan_json import plan_json, submit_command
from orchestration.plan.preflight import resolve_paths
from orchestration.spec.load import load_sweep
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import (
    EvaluateTask,
    ProbeTask,
    PyramidTask,
    RealImagesTask,
    ReferenceTask,
    Task,
    TrainTask,
)
from tests.orchestration.conftest import QUICKSTART
from tests.support.work import num_lines


def plan(*overrides: str) -> Plan:
    return make_plan(load_sweep(QUICKSTART, overrides))


def digests(made: Plan, kind: str) -> set[str]:
    return {task.digest for task in made.tasks.values() if task.kind == kind}


def test_the_quickstart_trains_three_models_for_its_six_rows() -> None:
    made = plan()
    assert len(made.trials) == 6
    assert len(made.of_kind(TrainTask)) == 3
    assert len(made.of_kind(EvaluateTask)) == 15  # the default DFM row stands in two parts
    assert [len(made.of_kind(kind)) for kind in (ReferenceTask, ProbeTask, RealImagesTask)] == [1, 1, 1]


def test_the_quickstart_compares_at_equal_compute() -> None:
    first, *others = [task.flops for task in plan().of_kind(TrainTask)]
    for flops in others:
        assert flops == pytest.approx(first, rel=0.01)


def test_inputs_come_before_their_readers() -> None:
    seen: set[str] = set()
    for task in plan().tasks.values():
        assert set(task.inputs) <= seen
        seen.add(task.digest)


@pytest.mark.parametrize(
    "override",
    [
        "training.learning_rate=0.5",
        "training.batch_size=16",
        "training.class_dropout=0.2",
        "training.precision=bf16",
        "model.size=S",
        "model.preconditioning=none",
        "data.standardize=true",
        "seeds=[1]",
    ],
)
def test_whatever_changes_a_training_changes_its_digest_and_its_evaluations(override: str) -> None:
    assert not digests(plan(), "train") & digests(plan(override), "train")
    assert not digests(plan(), "evaluate") & digests(plan(override), "evaluate")


@pytest.mark.parametrize(
    "override", ["sampling.guidance=3.5", "evaluation.seed=3", "evaluation.num_samples=77", "sampling.steps=[5, 5]"]
)
def test_sampling_settings_share_the_trainings(override: str) -> None:
    base = plan("parts={p: {rows: {DFM: {}}}}")
    changed = plan("parts={p: {rows: {DFM: {}}}}", override)
    assert digests(base, "train") == digests(changed, "train")
    assert not digests(base, "evaluate") & digests(changed, "evaluate")


@pytest.mark.parametrize(
    "override",
    ["workers.num_workers=1", "workers.zero_stage=3", "workers.log_every=7", "storage.root=/x", "title=other"],
)
def test_what_cannot_change_a_number_changes_no_digest(override: str) -> None:
    assert plan().tasks.keys() == plan(override).tasks.keys()


def test_more_steps_extend_the_same_training() -> None:
    short, long = plan(), plan("training.steps=1600", "evaluation.at_steps=[100, 350, 700, 1600]")
    assert digests(short, "train") == digests(long, "train")
    assert digests(short, "evaluate") < digests(long, "evaluate")


def test_flow_matching_ignores_the_settings_of_stages_it_does_not_have() -> None:
    rows = "parts={p: {grid: {training.first_stage_probability: [0.7, 0.9]}}}"
    single = ("paradigm=flow_matching", "decomposition={name: identity, resolutions: [32]}", "model.patch_sizes=[4]")
    made = plan(rows, *single, "sampling.steps=[20]", "sampling.tau=[]")
    assert len(made.trials) == 2
    assert len(made.of_kind(TrainTask)) == 1


def test_the_published_plan_is_the_same_text_for_the_same_sweep() -> None:
    assert plan_json(plan(), "sqlite:///x") == plan_json(plan(), "sqlite:///x")


def test_the_published_plan_says_what_a_training_costs() -> None:
    made = plan()
    document = json.loads(plan_json(made, "sqlite:///x"))
    (task,) = [task for task in made.of_kind(TrainTask) if task.config.paradigm == "flow_matching"]
    cost = model_cost(task.config, DATASETS["fashion_mnist"].shape)
    assert document["tasks"][task.digest]["flops_per_step"] == training_flops(task.config, cost, 1)
    assert document["tasks"][task.digest]["num_parameters"] == cost.num_parameters


def test_the_published_command_has_the_overrides_but_no_secret() -> None:
    overrides = ["training.steps=80", "storage.options.secret=hunter2", "storage={options: {key: hunter2}}"]
    spec = replace(plan().spec, overrides=(*overrides, "tracking.uri=https://me:hunter2@host/?token=hunter2"))
    command = submit_command(spec)
    assert command.startswith("python orchestration/sweep.py sweeps/quickstart.yaml training.steps=80 ")
    assert "hunter2" not in command
    elsewhere = replace(spec, path="/somewhere/a b.yaml", overrides=("seeds=[0, 1]",))
    assert submit_command(elsewhere) == "python orchestration/sweep.py '/somewhere/a b.yaml' 'seeds=[0, 1]'"


def test_the_published_command_is_the_same_wherever_the_root_was_named(tmp_path: Path) -> None:
    overrides = ["training.steps=800"]
    by_variable = resolve_paths(load_sweep(QUICKSTART, overrides), {"DFM_STORAGE_ROOT": str(tmp_path)}, Path("/"))
    by_override = resolve_paths(load_sweep(QUICKSTART, [f"storage.root={tmp_path}", *overrides]), {}, Path("/"))
    expected = f"python orchestration/sweep.py sweeps/quickstart.yaml training.steps=800 storage.root={tmp_path}"
    assert submit_command(by_variable) == submit_command(by_override) == expected


def test_an_evaluation_names_all_trainings_behind_it() -> None:
    document = json.loads(plan_json(plan(), "sqlite:///x"))
    tasks = document["tasks"].values()
    assert all(task["trained"] == {task["train"]: task["step"]} for task in tasks if task["kind"] == "evaluate")


def finish(store: Store, tasks: Sequence[Task]) -> None:
    for task in tasks:
        for step in task.snapshot_steps if isinstance(task, TrainTask) else ():
            store.publish(TaskPaths(task.digest).snapshot(step), [])
        write_record(store, TaskRecord(task.digest, task.kind, {}, 1.0, step=task.step))


def test_a_finished_sweep_needs_nothing(store: Store) -> None:
    made = plan()
    finish(store, list(made.tasks.values()))
    assert tasks_to_run(made, completed_records(store, made)) == []


def test_one_missing_evaluation_needs_only_itself(store: Store) -> None:
    made = plan()
    *others, missing = made.tasks.values()
    finish(store, others)
    assert [task.digest for task in tasks_to_run(made, completed_records(store, made))] == [missing.digest]


def test_a_training_without_one_of_its_snapshots_is_not_done(store: Store) -> None:
    made = plan()
    finish(store, list(made.tasks.values()))
    training = made.of_kind(TrainTask)[0]
    store.remove(TaskPaths(training.digest).snapshot(350))
    assert [task.digest for task in tasks_to_run(made, completed_records(store, made))] == [training.digest]


@pytest.mark.proves(29)
def test_a_torn_record_counts_as_not_done(store: Store) -> None:
    made = plan()
    finish(store, list(made.tasks.values()))
    evaluation = made.of_kind(EvaluateTask)[0]
    store.write(TaskPaths(evaluation.digest).result, b'{"digest": "torn')
    assert [task.digest for task in tasks_to_run(made, completed_records(store, made))] == [evaluation.digest]


def test_what_a_driver_keeps_of_a_record_does_not_grow_with_its_curve(store: Store) -> None:
    made = plan()
    training = made.of_kind(TrainTask)[0]
    finish(store, [training])
    short = TaskRecord(training.digest, "train", {"x": 1.0}, 1.0, step=training.until_step)
    curve = tuple({"step": float(step), "loss": 1.0} for step in range(1, 701))
    write_record(store, replace(short, curve=curve))
    assert completed_records(store, made) == {training.digest: short}


def test_a_tied_training_ignores_the_draw_over_stages_and_its_sampling_ignores_tau() -> None:
    tied = ("parts={p: {rows: {DFM: {}}}}", "training.timesteps=tied")
    changes = ("training.first_stage_probability=0.9", "training.previous_location=0.5", "sampling.tau=0.9")
    assert plan(*tied).tasks.keys() == plan(*tied, *changes).tasks.keys()


def test_twice_as_many_rows_are_planned_with_twice_the_work() -> None:
    def lines(num_rows: int) -> int:
        values = [round(0.001 * step, 3) for step in range(1, num_rows + 1)]

        def work() -> None:
            made = plan(f"parts={{p: {{grid: {{training.first_stage_probability: {values}}}}}}}")
            assert len(made.of_kind(TrainTask)) == num_rows
            users = [made.users(task.digest) for task in made.of_kind(TrainTask)]
            assert users[7] == ["p / first_stage_probability=0.008"]

        return num_lines(work)

    plan()  # caches are filled
    some, more, most = lines(100), lines(200), lines(400)
    assert most - more < 2.02 * (more - some)


SWEEPS = QUICKSTART.parent
ONE = "parts={p: {rows: {only: {}}}}"
ONE_ROW = "parts={p: {rows: {one: {}}}}"
EXPERTS = ("experts.steps=[40, 30]", "evaluation.at_steps=[]", "parts={p: {rows: {experts: {}}}}")


def test_table_1_has_25_rows_from_21_trainings() -> None:
    made = make_plan(load_sweep(SWEEPS / "table1.yaml"))
    assert len(made.trials) == 25
    assert len(made.of_kind(TrainTask)) == 21
    default = [digest for digest in digests(made, "train") if len(made.users(digest)) > 1]
    assert len(default) == 1
    assert [user.split(" / ")[0][0] for user in made.users(default[0])] == list("abcde")


@pytest.mark.parametrize("sweep", ["table1.yaml", "table1_small.yaml"])
def test_compute_allocation_compares_at_equal_training_and_sampling_compute(sweep: str) -> None:
    spec = load_sweep(SWEEPS / sweep)
    (part,) = [part for part in spec.parts if part.name == "e_compute_allocation"]
    configs = [row.configs[0] for row in part.rows]
    costs = [model_cost(config, DATASETS[config.data.dataset].shape) for config in configs]
    training = [training_flops(config, cost, 1) for config, cost in zip(configs, costs, strict=True)]
    sampling = [sampling_flops(config, cost, 1) for config, cost in zip(configs, costs, strict=True)]
    assert training[0] == pytest.approx(training[1], rel=0.01)
    assert sampling[0] == pytest.approx(sampling[1], rel=0.01)


def test_table_1_small_has_the_rows_of_table_1() -> None:
    small, full = (load_sweep(SWEEPS / name) for name in ("table1_small.yaml", "table1.yaml"))
    assert [part.name for part in small.parts] == [part.name for part in full.parts]
    for part, other in zip(small.parts[:-1], full.parts[:-1], strict=True):
        assert [row.label for row in part.rows] == [row.label for row in other.rows]


def test_experts_are_a_chain_of_trainings_each_from_the_one_before() -> None:
    made = plan(*EXPERTS)
    first, second = made.of_kind(TrainTask)
    (evaluation,) = made.of_kind(EvaluateTask)
    assert first.config.training.stage_probabilities == (1.0, 0.0)
    assert second.config.training.stage_probabilities == (0.0, 1.0)
    assert first.initial is None
    assert second.initial == (first.digest, 40)
    assert second.inputs == (first.digest,)
    assert evaluation.snapshots == ((first.digest, 40), (second.digest, 30))
    assert evaluation.at_step == 70
    document = json.loads(plan_json(made, "uri"))["tasks"][evaluation.digest]
    assert document["training_flops"] == first.flops + second.flops


def test_experts_of_other_lengths_share_what_they_can() -> None:
    longer = plan("experts.steps=[60, 30]", *EXPERTS[1:])
    mixed = plan("experts={steps: [20, 30], initialize_at: 40}", *EXPERTS[1:])
    first, second = plan(*EXPERTS).of_kind(TrainTask)
    assert digests(mixed, "train") == {first.digest, second.digest}  # the second still starts from step 40
    assert [task.until_step for task in mixed.of_kind(TrainTask)] == [40, 30]
    assert first.digest in digests(longer, "train")  # a longer run of the same trajectory
    assert second.digest not in digests(longer, "train")  # it starts from another step


def test_steps_that_a_later_expert_started_from_count_as_training() -> None:
    made = plan("experts={steps: [20, 30], initialize_at: 40}", *EXPERTS[1:])
    (evaluation,) = made.of_kind(EvaluateTask)
    document = json.loads(plan_json(made, "uri"))["tasks"][evaluation.digest]
    assert document["training_flops"] == sum(task.flops for task in made.of_kind(TrainTask))  # 40 and 30 steps
    assert document["training_images"] == 70 * evaluation.config.training.batch_size


def test_experts_from_scratch_do_not_wait_for_each_other() -> None:
    made = plan("experts={steps: [40, 30], initialize: scratch}", *EXPERTS[1:])
    assert [task.inputs for task in made.of_kind(TrainTask)] == [(), ()]


def test_a_learned_decomposition_is_fitted_once_for_all_trainings_on_its_scales() -> None:
    rows = "parts={p: {grid: {training.learning_rate: [0.001, 0.002]}}}"
    made = plan("decomposition.name=learned", rows)
    (pyramid,) = made.of_kind(PyramidTask)
    assert [task.inputs for task in made.of_kind(TrainTask)] == [(pyramid.digest,)] * 2
    other = plan("decomposition={name: learned, fit: {steps: 7}}", rows)
    assert not digests(made, "train") & digests(other, "train")


def test_settings_that_a_decomposition_does_not_read_change_no_digest() -> None:
    fit = {"decomposition.fit.steps": 7, "decomposition.fit.width": 9}
    changed = plan(*(f"{key}={value}" for key, value in fit.items()), "decomposition.name=learned", ONE)
    assert digests(changed, "train") != digests(plan("decomposition.name=learned", ONE), "train")
    assert "fit" not in plan(ONE).of_kind(TrainTask)[0].payload["decomposition"]


def test_an_unfinished_second_expert_needs_the_first_only_if_that_is_missing(store: Store) -> None:
    made = plan(*EXPERTS)
    first, second = made.of_kind(TrainTask)
    (evaluation,) = made.of_kind(EvaluateTask)
    inputs = (ReferenceTask, ProbeTask, RealImagesTask)
    finish(store, [first, *(task for kind in inputs for task in made.of_kind(kind))])
    assert tasks_to_run(made, completed_records(store, made)) == [second, evaluation]


def measured(made: Plan) -> dict[str, set[str]]:
    return {kind: digests(made, kind) for kind in ("reference", "probe", "floor", "evaluate")}


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("evaluation.num_samples=200", {"floor", "evaluate"}),
        ("evaluation.seed=1", {"floor", "evaluate"}),
        ("evaluation.bootstrap_replicates=0", {"floor", "evaluate"}),
        ("evaluation.num_neighbours=9", set()),  # no metric reads it
        ("evaluation.metrics=[fd_lite0_block10, fd_lite0_head]", {"floor", "evaluate", "probe"}),
        ("workers.keep_features=false", set()),
        ("sampling.time_shift=2.0", {"evaluate"}),
        ("sampling.weights=raw", {"evaluate"}),
    ],
)
def test_a_setting_renews_what_it_changes_and_nothing_else(override: str, changed: set[str]) -> None:
    before, after = measured(plan()), measured(plan(override))
    assert {kind for kind in before if before[kind] != after[kind]} == changed


def network_file(sha256: str, path: str = "/anywhere/w.pt") -> list[str]:
    return [
        "evaluation.metrics=[fid]",
        f"networks={{inception: {{weights: {{path: {path}, sha256: {sha256 * 64}}}}}}}",
    ]


def test_weights_decide_a_number_and_the_place_of_their_file_does_not() -> None:
    first, moved, other = (
        measured(plan(*network_file(*given))) for given in (("a",), ("a", "s3://bucket/w.pt"), ("b",))
    )
    assert first == moved
    assert first["reference"] != other["reference"]
    assert first["evaluate"].isdisjoint(other["evaluate"])


def test_imported_statistics_are_a_reference_by_their_checksum_and_have_no_floor() -> None:
    named = f"references={{fashion_mnist: {{inception: {{path: /x.npz, sha256: {'c' * 64}}}}}}}"
    made = plan(*network_file("a"), named)
    (reference,) = made.of_kind(ReferenceTask)
    assert reference.payload["imported"] == "c" * 64
    assert reference.sources == ()
    assert made.of_kind(RealImagesTask) == []
    assert made.of_kind(EvaluateTask)[0].real_images == ""


def test_every_number_has_its_protocol_in_the_published_plan() -> None:
    made = plan("sampling.guidance=1.5")
    document = json.loads(plan_json(made, "sqlite:///x.db"))
    evaluation = next(task for task in document["tasks"].values() if task["kind"] == "evaluate")
    floor = document["tasks"][evaluation["floor"]]
    assert floor["kind"] == "floor"
    (reference,) = made.of_kind(ReferenceTask)
    protocol = evaluation["protocols"]["fd_lite0_block10"]
    assert protocol["reference"] == reference.digest
    assert protocol["num_samples"] == 300
    assert protocol["guidance"] == 1.5
    assert protocol["ema_decay"] == 0.99
    assert floor["protocols"]["fd_lite0_block10"]["reference"] == reference.digest
    (probe,) = made.of_kind(ProbeTask)
    assert evaluation["protocols"]["label_accuracy"]["reference"] == probe.digest


def test_raw_weights_are_kept_by_the_training_that_they_are_of() -> None:
    (train,) = plan(ONE_ROW, "sampling.weights=raw", "evaluation.at_steps=[100, 700]").of_kind(TrainTask)
    assert train.raw_steps == (100, 700)
    (usual,) = plan(ONE_ROW, "evaluation.at_steps=[100, 700]").of_kind(TrainTask)
    assert usual.raw_steps == ()
    assert usual.digest == train.digest


def test_a_training_without_wanted_raw_weights_is_not_done(store: Store) -> None:
    made = plan(ONE_ROW, "sampling.weights=raw", "evaluation.at_steps=[700]")
    (train,) = made.of_kind(TrainTask)
    finish(store, [train])
    assert train in tasks_to_run(made, completed_records(store, made))
    store.publish(TaskPaths(train.digest).raw_weights(700), [])
    assert train not in tasks_to_run(made, completed_records(store, made))


def test_figure_3_trains_nothing_that_table_2_does_not() -> None:
    sweeps = QUICKSTART.parent
    own = digests(make_plan(load_sweep(sweeps / "figure3.yaml")), "train")
    tables = [f"table2_imagenet{side}.yaml" for side in (512, 1024)]
    made = [make_plan(load_sweep(sweeps / table)) for table in tables]
    assert own <= set().union(*(digests(table, "train") for table in made))
    steps = {t.digest: t.snapshot_steps for table in made for t in table.of_kind(TrainTask)}
    figure = make_plan(load_sweep(sweeps / "figure3.yaml"))
    assert all(set(task.snapshot_steps) <= set(steps[task.digest]) for task in figure.of_kind(TrainTask))
    small = make_plan(load_sweep(sweeps / "figure3_small.yaml"))
    assert digests(small, "train") <= digests(plan(), "train")


def test_what_a_sampling_does_not_read_renews_nothing() -> None:
    unguided = ("sampling.guidance=1.0", ONE_ROW)
    assert digests(plan(*unguided), "evaluate") == digests(
        plan(*unguided, "sampling.guidance_interval=[0.1, 0.9]", "sampling.condition_noise=0.2"), "evaluate"
    )
    assert digests(plan("sampling.guidance_interval=[0.1, 0.9]"), "evaluate").isdisjoint(digests(plan(), "evaluate"))
