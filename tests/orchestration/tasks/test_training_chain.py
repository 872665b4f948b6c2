"""Cascades in the plan: two trainings, the second from the first's snapshot; what is shared, and what is read."""

from __future__ import annotations

import pytest

from dfm_core.config.data import DataDescription
from dfm_core.config.model import BackboneDescription
from dfm_core.config.training import AdapterConfig, TrainingChange
from orchestration.data.backbone_recipe import made_backbone
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import EvaluateTask, TrainTask
from orchestration.tasks.training_chain import training_chain
from tests.orchestration.conftest import QUICKSTART, ROOT
from tests.support.flux import TINY_FLUX, tiny_flux

SWEEPS = ROOT / "sweeps"
SETTINGS = (
    "paradigm=cascaded",
    "decomposition.name=levels",
    "sampling={steps: [6, 6], tau: []}",
    "experts.steps=[40, 10]",
    "evaluation.at_steps=[]",
)


def cascade(*overrides: str, rows: str = "{rows: {cascaded: {}}}") -> Plan:
    return make_plan(load_sweep(QUICKSTART, [f"parts={{p: {rows}}}", *SETTINGS, *overrides]))


def trainings(plan: Plan) -> list[TrainTask]:
    return plan.of_kind(TrainTask)


def test_the_second_network_starts_from_the_first_ones_last_snapshot() -> None:
    first, second = trainings(cascade())
    assert first.initial is None
    assert second.initial == (first.digest, 40)
    assert first.digest in second.inputs
    assert (first.until_step, second.until_step) == (40, 10)
    assert (first.config.own_stages, second.config.own_stages) == ((0,), (1,))


def test_a_cascade_is_sampled_from_both_snapshots_and_pays_for_both() -> None:
    plan = cascade()
    first, second = trainings(plan)
    (evaluation,) = plan.of_kind(EvaluateTask)
    assert evaluation.snapshots == ((first.digest, 40), (second.digest, 10))
    assert evaluation.at_step == 50
    (trial,) = plan.trials
    assert trial.trains == (first.digest, second.digest)


def test_the_grid_search_of_its_sampling_trains_nothing_new() -> None:
    # A file of its own, on the snapshots of the table.
    table, search = (
        make_plan(load_sweep(SWEEPS / f"{name}.yaml")) for name in ("table2_small", "cascade_inference_small")
    )
    assert {task.digest for task in trainings(search)} < {task.digest for task in trainings(table)}
    assert len(search.of_kind(EvaluateTask)) == 12
    full, search = (
        make_plan(load_sweep(SWEEPS / f"{name}.yaml")) for name in ("table2_imagenet512", "cascade_inference")
    )
    assert {task.digest for task in trainings(search)} < {task.digest for task in trainings(full)}


def test_the_noise_of_the_condition_is_a_sampling_setting_of_cascades_alone() -> None:
    grid = "{grid: {sampling.condition_noise: [0.0, 0.025, 0.5]}}"
    plan = cascade(rows=grid)
    assert (len(trainings(plan)), len(plan.of_kind(EvaluateTask))) == (2, 3)
    dfm = make_plan(load_sweep(QUICKSTART, [f"parts={{p: {grid}}}"]))
    assert len(dfm.of_kind(EvaluateTask)) == 3  # three steps of the quickstart, each once: DFM does not read it


@pytest.mark.parametrize(
    "setting", ["cascade.condition_tokens: [added, joined]", "training.previous_location: [1.5, 0.5]"]
)
def test_what_only_the_second_network_reads_leaves_the_first_one_shared(setting: str) -> None:
    plan = cascade("compute.allow_unequal=true", rows=f"{{grid: {{{setting}}}}}")
    stages = [task.config.own_stages for task in trainings(plan)]
    assert sorted(stages) == [(0,), (1,), (1,)]


def test_initialising_from_scratch_makes_the_networks_independent() -> None:
    first, second = trainings(cascade("experts.initialize=scratch"))
    assert second.initial is None
    assert second.inputs == ()
    assert first.digest != second.digest


@pytest.mark.parametrize(
    ("setting", "values", "count"),
    [
        ("training.first_stage_probability", "[0.7, 0.9]", 1),
        ("training.previous_location", "[1.5, 0.5]", 1),
        ("training.location", "[0.0, 0.5]", 1),
        ("training.stage_draw", "[sample, batch]", 1),
        ("pyramidal_flow.gamma", "[0.33, 0.2]", 2),
        ("training.stage_probabilities", "[[0.5, 0.5], [0.25, 0.75]]", 2),
    ],
)
def test_pyramidal_flow_has_a_digest_of_what_it_reads(setting: str, values: str, count: int) -> None:
    own = ("paradigm=pyramidal_flow", *SETTINGS[1:3], "evaluation.at_steps=[]")
    plan = make_plan(load_sweep(QUICKSTART, [f"parts={{p: {{grid: {{{setting}: {values}}}}}}}", *own]))
    assert len(plan.of_kind(TrainTask)) == count


def test_every_stretch_of_an_adapters_training_knows_where_its_frozen_weights_are() -> None:
    described = BackboneDescription(made_backbone("flux", ("a-training", 7)), TINY_FLUX)
    changed = {
        "model.described": described,
        "data.described": DataDescription("x", "k", (), 9, 5, "y", 8, 4),
        "training.adapter": AdapterConfig(rank=2),
        "training.steps": 4,
        "training.changes": (TrainingChange(2, (("learning_rate", 1e-4),)),),
    }
    chain = training_chain(tiny_flux(1, changed))
    assert [link.initial for link in chain] == [("a-training", 7)] * 2
    assert [link.continued for link in chain] == [None, (chain[0].digest, 2)]
