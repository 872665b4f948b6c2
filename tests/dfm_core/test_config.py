"""Rules that span fields: each one is found, all at once, and what passes them runs."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dfm_core.config import (
    DecompositionConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
    as_plain,
)
from dfm_core.paradigms import build_paradigm
from dfm_core.training.state import build_model
from tests.dfm_core.builders import NUM_CLASSES, random_batch, with_values

FLOW_MATCHING: dict[str, Any] = {
    "paradigm": "flow_matching",
    "decomposition.name": "identity",
    "decomposition.resolutions": (32,),
    "model.patch_sizes": (4,),
    "sampling.steps": (40,),
    "sampling.tau": (),
}


def test_the_default_experiment_has_no_problem() -> None:
    assert ExperimentConfig().problems() == []


def test_flow_matching_with_one_scale_has_no_problem() -> None:
    assert with_values(ExperimentConfig(), FLOW_MATCHING).problems() == []


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        (
            {"decomposition.resolutions": (16, 64)},
            "decomposition.resolutions",
            "the last is 64, but fashion_mnist has side 32",
        ),
        (
            {"decomposition.resolutions": (32, 32)},
            "decomposition.resolutions",
            "[32, 32] must grow strictly, coarsest first",
        ),
        ({"decomposition.resolutions": (64, 32)}, "decomposition.resolutions", "must grow strictly"),
        ({"decomposition.resolutions": (12, 32)}, "decomposition.resolutions", "32 is not a multiple of 12"),
        ({"decomposition.name": "identity"}, "decomposition.resolutions", "identity has one scale, got 2"),
        ({"model.patch_sizes": (2,)}, "model.patch_sizes", "1 patch sizes for 2 resolutions: give one per scale"),
        ({"model.patch_sizes": (3, 6)}, "model.patch_sizes", "patch 3 does not divide side 16"),
        ({"model.patch_sizes": (32, 64)}, "model.patch_sizes", "patch 64 does not divide side 32"),
        ({"model.patch_sizes": (2, 2)}, "model.patch_sizes", "[2, 2] give [64, 256] tokens at sides [16, 32]"),
        ({"paradigm": "flow_matching"}, "decomposition.resolutions", "flow_matching has one scale, got 2"),
        ({"sampling.steps": (40,)}, "sampling.steps", "[40] has 1 entries for 2 stage(s)"),
        ({"sampling.tau": ()}, "sampling.tau", "[] has 0 entries; 2 stage(s) need 1"),
        ({"sampling.tau": (0.7, 0.9)}, "sampling.tau", "2 stage(s) need 1"),
        (
            {"evaluation.at_steps": (100, 501, 900)},
            "evaluation.at_steps",
            "[501, 900] lie after the last training step 500",
        ),
    ],
)
def test_each_broken_rule_is_found(values: dict[str, Any], key: str, message: str) -> None:
    found = with_values(ExperimentConfig(), values).problems()
    assert any(where == key and message in what for where, what in found), found


def test_all_broken_rules_are_reported_at_once() -> None:
    values = {
        "model.patch_sizes": (3,),
        "sampling.steps": (1, 1, 1),
        "sampling.tau": (),
        "evaluation.at_steps": (10_000,),
    }
    found = with_values(ExperimentConfig(), values).problems()
    assert [key for key, _ in found] == ["model.patch_sizes", "sampling.steps", "sampling.tau", "evaluation.at_steps"]


LADDERS = ((32,), (16, 32), (8, 16, 32), (8, 32))
SIDES = st.sampled_from((4, 8, 12, 16, 32, 64))


@st.composite
def experiments(draw: st.DrawFn) -> ExperimentConfig:
    """Mostly sound experiments with, now and then, a value that does not fit the others."""

    def fitting(value: Any, wild: st.SearchStrategy[Any]) -> Any:
        return draw(wild) if draw(st.integers(0, 11)) == 0 else value

    def tuples(values: st.SearchStrategy[Any], smallest: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(values, min_size=smallest, max_size=4).map(tuple)

    resolutions = fitting(draw(st.sampled_from(LADDERS)), tuples(SIDES))
    stages, grid = len(resolutions), draw(st.sampled_from((2, 4, 8)))
    patches = tuple(max(side // grid, 1) for side in resolutions)
    tau = st.floats(0.01, 1.0)
    steps = draw(st.integers(1, 5))
    return ExperimentConfig(
        paradigm=fitting("flow_matching" if stages == 1 else "dfm", st.sampled_from(("dfm", "flow_matching"))),
        seed=draw(st.integers(0, 3)),
        decomposition=DecompositionConfig(
            name=fitting("laplacian", st.sampled_from(("identity", "laplacian"))), resolutions=resolutions
        ),
        model=ModelConfig(
            size="nano",
            patch_sizes=fitting(patches, tuples(st.sampled_from((1, 2, 3, 4, 8, 64)))),
            preconditioning=draw(st.sampled_from(("edm", "no_skip", "none"))),
            input_masking=draw(st.booleans()),
            positions=draw(st.sampled_from(("rope", "sincos"))),
            stage_embedding=draw(st.booleans()),
            timestep_scale=draw(st.sampled_from((1.0, 1000.0))),
        ),
        training=TrainingConfig(
            steps=steps,
            timesteps=draw(st.sampled_from(("independent", "tied"))),
            first_stage_probability=draw(st.floats(0, 1)),
            location=draw(st.floats(-3, 3)),
            previous_location=draw(st.floats(-3, 3)),
            class_dropout=draw(st.floats(0, 1)),
        ),
        sampling=SamplingConfig(
            steps=fitting((1,) * stages, tuples(st.integers(1, 2))),
            tau=fitting(draw(st.tuples(*[tau] * (stages - 1))), tuples(tau, 0)),
            guidance=draw(st.sampled_from((0.0, 1.0, 2.0))),
        ),
        evaluation=EvaluationConfig(at_steps=fitting((steps,), tuples(st.integers(1, 9), 0))),
    )


def fields_of(config: ExperimentConfig) -> set[str]:
    """Dotted names of all fields that live in a section."""
    sections = {f.name: getattr(config, f.name) for f in fields(config)}
    return {f"{name}.{f.name}" for name, section in sections.items() if is_dataclass(section) for f in fields(section)}


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(experiments())
def test_an_experiment_either_has_problems_or_trains_and_samples(config: ExperimentConfig) -> None:
    problems = config.problems()
    event("has problems" if problems else "runs")
    if problems:
        assert {key for key, _ in problems} <= fields_of(config)
        return
    std = tuple(0.5 / (stage + 1) for stage in range(config.num_stages))
    model, paradigm = build_model(config, 1, NUM_CLASSES, std), build_paradigm(config, std)
    result = paradigm.loss(model, random_batch(2, side=32))
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    images = paradigm.sample(model, torch.tensor([0, 1]), range(2), 0, config.sampling).images
    assert images.shape == (2, 1, 32, 32)
    assert torch.isfinite(images).all()


def test_the_strategy_draws_sound_and_broken_experiments() -> None:
    # Guards the property above against a strategy that has gone one-sided.
    seen = {True: 0, False: 0}

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(experiments())
    def count(config: ExperimentConfig) -> None:
        seen[bool(config.problems())] += 1

    count()
    assert min(seen.values()) > 15, seen


@pytest.mark.parametrize(
    ("stages", "expected"), [(1, (1.0,)), (2, (0.8, 0.2)), (3, (0.8, 0.1, 0.1)), (5, (0.8, *[0.05] * 4))]
)
def test_later_stages_share_what_the_first_leaves(stages: int, expected: tuple[float, ...]) -> None:
    config = with_values(
        ExperimentConfig(),
        {
            "decomposition.resolutions": tuple(2**k for k in range(1, stages + 1)),
            "training.first_stage_probability": 0.8,
        },
    )
    assert config.num_stages == stages
    assert config.stage_probabilities == pytest.approx(expected)


def test_evaluation_steps_are_sorted_unique_and_default_to_the_last() -> None:
    assert ExperimentConfig().evaluation_steps == (500,)
    config = with_values(ExperimentConfig(), {"evaluation.at_steps": (300, 100, 300)})
    assert config.evaluation_steps == (100, 300)


def test_a_plain_config_is_json_and_holds_every_field() -> None:
    plain = as_plain(ExperimentConfig())
    assert json.loads(json.dumps(plain)) == plain
    names = {f"{section}.{name}" for section, part in plain.items() if isinstance(part, dict) for name in part}
    assert names == fields_of(ExperimentConfig())


def test_configs_cannot_be_changed_and_compare_by_value() -> None:
    assert ExperimentConfig() == ExperimentConfig()
    assert hash(ExperimentConfig()) == hash(ExperimentConfig())
    with pytest.raises(FrozenInstanceError):
        ExperimentConfig().seed = 1  # type: ignore[misc]
