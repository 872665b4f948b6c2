"""Params of runs: the first columns of MLflow's stock compare view."""

from __future__ import annotations

import pytest

from dfm_core.config import ExperimentConfig
from dfm_core.config.plain import as_plain
from orchestration.parsing.dotted_keys import flatten
from orchestration.plan.plan import Plan, make_plan
from orchestration.spec.load import load_sweep
from orchestration.tasks.task import EvaluateTask, ProbeTask, RealImagesTask, ReferenceTask, TrainTask
from orchestration.tracking.run_params import run_params, short_name, varying_settings
from tests.orchestration.conftest import QUICKSTART

LONGER = "parts={a: {rows: {short: {training.steps: 100}, long: {training.steps: 700}}}}"
ONLY_P0T = "parts={a: {grid: {training.first_stage_probability: [0.7, 0.9]}}}"
SEARCH = (
    "parts={a: {search: {space: {sampling.tau: {uniform: [0.5, 0.9]}, "
    "training.learning_rate: {log: [1.0e-4, 1.0e-2]}}, sampler: random, num_trials: 2, "
    "objectives: {fd_lite0_block10: minimize}}}}"
)

TWO_LEVELS = (
    "parts={a: {search: {space: {training.learning_rate: {log: [1.0e-4, 1.0e-2]}}, sampler: random, num_trials: 2, "
    "inner: {num_trials: 2, space: {sampling.tau: {uniform: [0.5, 0.9]}}}, objectives: {fd_lite0_block10: minimize}}}}"
)


def plan_of(*overrides: str) -> Plan:
    return make_plan(load_sweep(QUICKSTART, overrides))


def test_what_varies_is_what_the_rows_differ_in_and_the_seed() -> None:
    assert varying_settings(plan_of(ONLY_P0T)) == {"training.first_stage_probability", "seed"}


def test_what_a_search_proposes_varies_before_it_has_proposed_anything() -> None:
    found = varying_settings(plan_of(SEARCH))
    assert {"sampling.tau", "training.learning_rate", "seed"} <= found


def test_what_an_inner_search_proposes_varies_too() -> None:
    assert {"sampling.tau", "training.learning_rate"} <= varying_settings(plan_of(TWO_LEVELS))


def test_the_compare_view_draws_p0t_against_fd_first() -> None:
    plan = plan_of(ONLY_P0T)
    for task in plan.of_kind(EvaluateTask):
        params = run_params(task, varying_settings(plan))
        assert params == {
            "p0t": f"{task.config.training.first_stage_probability:g}",
            "seed": "0",
            "step": str(task.at_step),
        }
        assert min(params) == "p0t"
        assert min(task.protocols).startswith("fd_")


def test_a_task_has_no_param_that_it_does_not_read() -> None:
    plan = plan_of()
    varying = varying_settings(plan)
    assert {"training.first_stage_probability", "sampling.tau"} <= varying
    for task in (*plan.of_kind(TrainTask), *plan.of_kind(EvaluateTask)):
        params = run_params(task, varying)
        assert ("p0t" in params) == (task.config.paradigm == "dfm")
        assert ("tau" in params) == (task.config.paradigm == "dfm" and task.kind == "evaluate")
    for kind in (ReferenceTask, ProbeTask, RealImagesTask):
        assert [run_params(task, varying) for task in plan.of_kind(kind)] == [{}] * len(plan.of_kind(kind))


def test_numbers_are_numbers_and_several_are_joined() -> None:
    plan = plan_of()
    task = next(task for task in plan.of_kind(EvaluateTask) if task.config.paradigm == "dfm")
    varying = {"sampling.tau", "sampling.steps", "training.learning_rate", "model.input_masking", "model.backbone"}
    params = run_params(task, varying)
    assert params["tau"] == f"{task.config.sampling.tau[0]:g}"
    assert params["sampling_steps"] == "-".join(map(str, task.config.sampling.steps))
    assert float(params["training_learning_rate"]) == task.config.training.learning_rate
    assert (params["input_masking"], params["backbone"]) == ("true", "dit")


def test_what_grows_when_a_sweep_asks_for_more_is_no_param() -> None:
    plan = plan_of(LONGER, "evaluation.at_steps=[100]", "compute.allow_unequal=true")
    assert "training.steps" not in varying_settings(plan)


def test_no_two_settings_have_one_name() -> None:
    keys = [key for key, _ in flatten(as_plain(ExperimentConfig()))]
    names = [short_name(key) for key in keys]
    assert len(set(names)) == len(names)
    assert not [name for name in names if "." in name]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("training.first_stage_probability", "p0t"),
        ("sampling.tau", "tau"),
        ("seed", "seed"),
        ("evaluation.seed", "evaluation_seed"),
        ("sampling.steps", "sampling_steps"),
        ("decomposition.fit.learning_rate", "fit_learning_rate"),
    ],
)
def test_names_are_short_and_the_same_in_every_sweep(key: str, name: str) -> None:
    assert short_name(key) == name
