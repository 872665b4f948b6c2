"""Rules that span fields: each one is found, all at once, and what passes them runs."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from typing import Any, get_args

import pytest
import torch
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dfm_core.compute import num_evaluations
from dfm_core.config import (
    DecompositionConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    SamplingConfig,
    TrainingConfig,
)
from dfm_core.config.choices import (
    Domain,
    PatchGrid,
    Positions,
    Solver,
    Specialization,
    StageDraw,
    TimestepLaw,
    Upsampling,
    WaveletFamily,
)
from dfm_core.config.model import DECOMPOSITION_SETTINGS, PyramidFitConfig
from dfm_core.config.plain import as_plain, from_plain
from dfm_core.config.rules import broken_rules
from dfm_core.config.training import TrainingChange
from dfm_core.decompositions import DECOMPOSITIONS
from dfm_core.training.state import build_model
from tests.support.models import SHAPE, paradigm_of, random_batch, with_values

FLOW_MATCHING: dict[str, Any] = {
    "paradigm": "flow_matching",
    "decomposition.name": "identity",
    "decomposition.resolutions": (32,),
    "model.patch_sizes": (4,),
    "sampling.steps": (40,),
    "sampling.tau": (),
}

PER_STAGE: dict[str, Any] = {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}
EXPERTS: dict[str, Any] = {"experts.steps": (5, 5)}


def test_the_default_experiment_has_no_problem() -> None:
    assert broken_rules(ExperimentConfig()) == []


@pytest.mark.parametrize(
    "values",
    [
        FLOW_MATCHING,
        PER_STAGE,
        EXPERTS,
        {**EXPERTS, "experts.initialize_at": 3},
        {"decomposition.name": "learned", "decomposition.fit": PyramidFitConfig(width=8)},
        {"decomposition.name": "wavelet", "decomposition.wavelet": "db4"},
        {
            "decomposition.name": "cosine",
            "decomposition.block_size": 4,
            "decomposition.domain": "frequency",
            "model.patch_sizes": (1, 1),
        },
        {"model.backbone": "tokenformer", "model.specialization": "projection"},
        {"training.stage_probabilities": (0.5, 0.5 + 5e-7)},
        {"sampling.guidance_interval": (0.3, 0.3), "sampling.time_shift": 3.0},
    ],
    ids=str,
)
def test_what_fits_together_has_no_problem(values: dict[str, Any]) -> None:
    assert broken_rules(with_values(ExperimentConfig(), values)) == []


def test_blocks_wider_than_the_data_are_reported_and_not_divided_by() -> None:
    values = {
        "decomposition": DecompositionConfig("cosine", (2, 4), domain="frequency"),
        "model.patch_grid": "per_stage",
    }
    found = broken_rules(with_values(ExperimentConfig(), values))
    assert ("decomposition.block_size", "8 does not divide side 4") in found


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        (
            {"decomposition.resolutions": (16, 64)},
            "decomposition.resolutions",
            "the last is 64, but fashion_mnist has side 32: end with 32",
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
        (
            {"sampling.steps": (40,)},
            "sampling.steps",
            "[40] has 1 entry for 2 stages: give one number a stage, e.g. [30, 10]",
        ),
        ({"sampling.tau": ()}, "sampling.tau", "[] has 0 entries; 2 stages need 1"),
        ({"sampling.tau": (0.7, 0.9)}, "sampling.tau", "2 stages need 1"),
        (
            {"decomposition.name": "wavelet", "decomposition.resolutions": (4, 12, 32)},
            "decomposition.resolutions",
            "12 is 3 times 4; wavelet needs a power of 2",
        ),
        (
            {"decomposition.name": "learned", "decomposition.resolutions": (4, 12, 32)},
            "decomposition.resolutions",
            "12 is 3 times 4; learned needs a power of 2",
        ),
        (
            {**FLOW_MATCHING, "decomposition.name": "learned"},
            "decomposition.resolutions",
            "learned has nothing to learn with one scale",
        ),
        *[
            (
                {f"decomposition.{setting}": value},
                f"decomposition.{setting}",
                f"is read by {reader} only, and the decomposition is laplacian",
            )
            for setting, value, reader in (
                ("wavelet", "db2", "wavelet"),
                ("block_size", 4, "cosine"),
                ("domain", "frequency", "cosine"),
                ("fit", PyramidFitConfig(width=8), "learned"),
            )
        ],
        (
            {"decomposition.name": "fourier", "decomposition.upsampling": "doubling"},
            "decomposition.upsampling",
            "is read by laplacian only, and the decomposition is fourier",
        ),
        (
            {"decomposition.name": "cosine", "decomposition.resolutions": (6, 12)},
            "decomposition.block_size",
            "8 does not divide side 12",
        ),
        (
            {"decomposition.name": "cosine", "decomposition.resolutions": (2, 32)},
            "decomposition.resolutions",
            "2 of 32 keeps no whole number of frequencies of a block of 8",
        ),
        (
            {**FLOW_MATCHING, "decomposition.name": "cosine", "decomposition.domain": "frequency"},
            "decomposition.domain",
            "flow_matching generates images, which frequency coefficients are not",
        ),
        (
            {"model.patch_sizes": (2, 2)},
            "model.patch_sizes",
            "all scales need the same number, or model.patch_grid: per_stage",
        ),
        (
            {"model.patch_grid": "per_stage", "model.patch_sizes": (1, 4)},
            "model.patch_sizes",
            "token grids of sides [16, 8]: each must be a multiple of the one before",
        ),
        (
            {**PER_STAGE, "model.input_masking": False},
            "model.input_masking",
            "false feeds every scale in every stage; model.patch_grid: per_stage does not",
        ),
        (
            {**PER_STAGE, "training.loss_masking": False},
            "training.loss_masking",
            "false trains every scale in every stage; model.patch_grid: per_stage leaves later ones out",
        ),
        ({**PER_STAGE, "model.positions": "sincos"}, "model.positions", "model.patch_grid: per_stage needs rope"),
        *[
            (
                {"model.backbone": "tokenformer", "model.specialization": kind},
                "model.specialization",
                f"{kind} concerns linear maps that a tokenformer does not have",
            )
            for kind in ("attention", "mlp", "full")
        ],
        (
            {"model.backbone": "tokenformer", "model.lora_rank": 4},
            "model.lora_rank",
            "a tokenformer's blocks have no linear maps to add to",
        ),
        (
            {"model.specialization": "mlp", "model.lora_rank": 4},
            "model.lora_rank",
            "choose one: specialization is mlp",
        ),
        (
            {"training.stage_probabilities": (0.5, 0.25, 0.25)},
            "training.stage_probabilities",
            "[0.5, 0.25, 0.25] has 3 entries for 2 stages: give one number a stage",
        ),
        (
            {"training.stage_probabilities": (0.5, 0.4)},
            "training.stage_probabilities",
            "[0.5, 0.4] sum to 0.9, not to 1",
        ),
        (
            {"training.stage_probabilities": (0.5, 0.5), "training.timesteps": "tied"},
            "training.stage_probabilities",
            "are not read when all timesteps are tied",
        ),
        (
            {"sampling.guidance_interval": (0.7, 0.3)},
            "sampling.guidance_interval",
            "[0.7, 0.3] ends before it begins",
        ),
        ({"experts.initialize_at": 5}, "experts.initialize_at", "means nothing without experts.steps"),
        ({"experts.steps": (5,)}, "experts.steps", "[5] has 1 entry for 2 stages: give one number a stage"),
        (
            {**FLOW_MATCHING, "experts.steps": (5,)},
            "experts.steps",
            "experts need two stages or more",
        ),
        (
            {**EXPERTS, "training.timesteps": "tied"},
            "training.timesteps",
            "tied trains all stages at once; experts have one each",
        ),
        (
            {**EXPERTS, "training.stage_probabilities": (0.5, 0.5)},
            "training.stage_probabilities",
            "means nothing to experts, which have one stage each",
        ),
        *[
            ({**EXPERTS, f"model.{setting}": value}, f"model.{setting}", "mean nothing to experts")
            for setting, value in (("backbone", "tokenformer"), ("specialization", "mlp"), ("lora_rank", 4))
        ],
        ({**EXPERTS, "evaluation.at_steps": (5,)}, "evaluation.at_steps", "experts are measured once"),
        (
            {**EXPERTS, "experts.initialize": "scratch", "experts.initialize_at": 3},
            "experts.initialize_at",
            "means nothing with experts.initialize: scratch",
        ),
        (
            {"evaluation.at_steps": (100, 501, 900)},
            "evaluation.at_steps",
            "[501, 900] lie after the last training step 500",
        ),
    ],
)
def test_each_broken_rule_is_found(values: dict[str, Any], key: str, message: str) -> None:
    found = broken_rules(with_values(ExperimentConfig(), values))
    assert any(where == key and message in what for where, what in found), found


def test_all_broken_rules_are_reported_at_once() -> None:
    values = {
        "model.patch_sizes": (3,),
        "sampling.steps": (1, 1, 1),
        "sampling.tau": (),
        "evaluation.at_steps": (10_000,),
    }
    found = broken_rules(with_values(ExperimentConfig(), values))
    assert [key for key, _ in found] == ["model.patch_sizes", "sampling.steps", "sampling.tau", "evaluation.at_steps"]


WEIGHT_FREE = tuple(name for name in DECOMPOSITIONS if "fit" not in DECOMPOSITION_SETTINGS[name])
LADDERS = ((32,), (16, 32), (8, 16, 32), (8, 32))
SIDES = st.sampled_from((4, 8, 12, 16, 32, 64))


@st.composite
def experiments(draw: st.DrawFn) -> ExperimentConfig:
    """Mostly sound experiments with, now and then, a value that does not fit the others."""

    def fitting(value: Any, wild: st.SearchStrategy[Any]) -> Any:
        return draw(wild) if draw(st.integers(0, 11)) == 0 else value

    def tuples(values: st.SearchStrategy[Any], smallest: int = 1) -> st.SearchStrategy[tuple[Any, ...]]:
        return st.lists(values, min_size=smallest, max_size=4).map(tuple)

    name = draw(st.sampled_from(WEIGHT_FREE))
    resolutions = fitting((32,) if name == "identity" else draw(st.sampled_from(LADDERS)), tuples(SIDES))
    stages = len(resolutions)
    decomposition = DecompositionConfig(
        name=fitting(name, st.sampled_from(WEIGHT_FREE)),
        resolutions=resolutions,
        upsampling=draw(st.sampled_from(get_args(Upsampling))) if name == "laplacian" else "direct",
        wavelet=draw(st.sampled_from(get_args(WaveletFamily))) if name == "wavelet" else "haar",
        block_size=draw(st.sampled_from((4, 8))) if name == "cosine" else 8,
        domain=draw(st.sampled_from(get_args(Domain))) if name == "cosine" else "spatial",
    )
    patch_grid = draw(st.sampled_from(get_args(PatchGrid)))
    patch, grid = draw(st.sampled_from((2, 4))), draw(st.sampled_from((2, 4, 8)))
    patches = tuple(patch if patch_grid == "per_stage" else max(side // grid, 1) for side in decomposition.sides)
    extra = draw(st.sampled_from(("none", "specialization", "lora_rank", "tokenformer")))
    tau, positions = st.floats(0.01, 1.0), st.sampled_from(get_args(Positions))
    steps = draw(st.integers(1, 5))
    timesteps = draw(st.sampled_from(get_args(TimestepLaw)))
    shares = draw(st.lists(st.integers(1, 9), min_size=stages, max_size=stages))
    given_outright = timesteps == "independent" and draw(st.booleans())
    probabilities = tuple(share / sum(shares) for share in shares) if given_outright else ()
    ends = draw(st.tuples(st.floats(0, 1), st.floats(0, 1)))
    return ExperimentConfig(
        paradigm=fitting("flow_matching" if stages == 1 else "dfm", st.sampled_from(("dfm", "flow_matching"))),
        seed=draw(st.integers(0, 3)),
        decomposition=decomposition,
        model=ModelConfig(
            size="nano",
            patch_sizes=fitting(patches, tuples(st.sampled_from((1, 2, 3, 4, 8, 64)))),
            patch_grid=patch_grid,
            backbone=fitting(
                "tokenformer" if extra == "tokenformer" else "dit", st.sampled_from(("dit", "tokenformer"))
            ),
            specialization=fitting(
                draw(st.sampled_from(get_args(Specialization))) if extra == "specialization" else "none",
                st.sampled_from(get_args(Specialization)),
            ),
            lora_rank=fitting(2 if extra == "lora_rank" else 0, st.integers(0, 2)),
            preconditioning=draw(st.sampled_from(("edm", "no_skip", "none"))),
            input_masking=fitting(True, st.booleans()) if patch_grid == "per_stage" else draw(st.booleans()),
            positions=fitting("rope" if patch_grid == "per_stage" else draw(positions), positions),
            stage_embedding=draw(st.booleans()),
            timestep_scale=draw(st.sampled_from((1.0, 1000.0))),
        ),
        training=TrainingConfig(
            steps=steps,
            batch_size=2,
            timesteps=timesteps,
            stage_probabilities=fitting(probabilities, tuples(st.sampled_from((0.0, 0.5, 1.0)))),
            stage_draw=draw(st.sampled_from(get_args(StageDraw))),
            loss_masking=fitting(True, st.booleans()) if patch_grid == "per_stage" else draw(st.booleans()),
            first_stage_probability=draw(st.floats(0, 1)),
            location=draw(st.floats(-3, 3)),
            previous_location=draw(st.floats(-3, 3)),
            class_dropout=draw(st.floats(0, 1)),
        ),
        sampling=SamplingConfig(
            steps=fitting((1,) * stages, tuples(st.integers(1, 2))),
            tau=fitting(draw(st.tuples(*[tau] * (stages - 1))), tuples(tau, 0)),
            guidance=draw(st.sampled_from((0.0, 1.0, 2.0))),
            guidance_interval=fitting((min(ends), max(ends)), st.just(ends)),
            solver=draw(st.sampled_from(get_args(Solver))),
            time_shift=draw(st.floats(0.1, 10)),
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
    problems = broken_rules(config)
    event("has problems" if problems else "runs")
    if problems:
        assert {key for key, _ in problems} <= fields_of(config)
        return
    std = tuple(0.5 / (stage + 1) for stage in range(config.num_stages))
    model, paradigm = build_model(config, SHAPE, std), paradigm_of(config, std)
    result = paradigm.loss(model, random_batch(2, side=32))
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    sampled = paradigm.sample(model, torch.tensor([0, 1]), range(2), 0, config.sampling)
    assert sampled.images.shape == (2, 1, 32, 32)
    assert torch.isfinite(sampled.images).all()
    assert sampled.num_evaluations == num_evaluations(config)


def test_the_strategy_draws_sound_and_broken_experiments() -> None:
    # Guards the property above against a strategy that has gone one-sided.
    seen = {True: 0, False: 0}

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(experiments())
    def count(config: ExperimentConfig) -> None:
        seen[bool(broken_rules(config))] += 1

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


def test_changes_of_a_training_come_back_from_json() -> None:
    changes = (TrainingChange(8, (("learning_rate", 0.002), ("location", -1.0))), TrainingChange(16))
    config = ExperimentConfig(training=TrainingConfig(changes=changes))
    assert from_plain(ExperimentConfig, json.loads(json.dumps(as_plain(config)))) == config
