"""What cascades and Pyramidal Flow need of the other settings: each broken rule is found, and what passes runs."""

from __future__ import annotations

from math import gcd, nextafter
from typing import Any, get_args, get_type_hints

import pytest
import torch
from annotated_types import Interval
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from dfm_core.compute import num_evaluations
from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.config.choices import ConditionTokens, PatchGrid, Solver, Specialization
from dfm_core.config.experiment import stage_columns
from dfm_core.config.plain import as_plain, from_plain
from dfm_core.config.rules import broken_rules
from dfm_core.config.training import PyramidalFlowConfig
from dfm_core.flow.jumps import pyramid_stages
from tests.support.models import (
    one_network,
    paradigm_of,
    random_batch,
    random_model,
    random_sampler,
    tiny_pyramidal_flow,
    trainings,
    with_values,
)

LEVELS: dict[str, Any] = {
    "decomposition.name": "levels",
    "sampling.steps": (20, 20),
    "sampling.tau": (),
}
CASCADE: dict[str, Any] = {**LEVELS, "paradigm": "cascaded", "experts.steps": (400, 100)}
PYRAMID: dict[str, Any] = {**LEVELS, "paradigm": "pyramidal_flow"}
THREE: dict[str, Any] = {
    "decomposition.resolutions": (8, 16, 32),
    "model.patch_sizes": (1, 2, 4),
    "sampling.steps": (14, 13, 13),
}


def experiment(*values: dict[str, Any]) -> ExperimentConfig:
    merged: dict[str, Any] = {}
    for own in values:
        merged |= own
    return with_values(ExperimentConfig(), merged)


@pytest.mark.parametrize(
    "config",
    [
        experiment(CASCADE),
        experiment(CASCADE, {"cascade.condition_tokens": "joined", "sampling.condition_noise": 0.0}),
        experiment(CASCADE, {"experts.steps": (), "experts.compute_shares": (0.8, 0.2)}),
        experiment(CASCADE, {"decomposition.resolutions": (8, 32), "model.patch_sizes": (1, 4)}),
        experiment(CASCADE, {"sampling.time_shift": 3.0, "sampling.guidance_interval": (0.2, 0.7)}),
        one_network(experiment(CASCADE), 0),
        one_network(experiment(CASCADE), 1),
        experiment(PYRAMID),
        experiment(PYRAMID, THREE),
        experiment(PYRAMID, {"pyramidal_flow.gamma": 0.2, "sampling.solver": "heun", "sampling.guidance": 2.0}),
        experiment(PYRAMID, {"training.stage_probabilities": (0.25, 0.75)}),
        experiment(PYRAMID, {"model.patch_grid": "per_stage", "model.patch_sizes": (2, 2)}),
        experiment(PYRAMID, {"model.specialization": "mlp"}),
    ],
)
def test_what_fits_together_has_no_problem(config: ExperimentConfig) -> None:
    assert broken_rules(config) == []


@pytest.mark.parametrize(
    ("paradigm", "values", "key", "message"),
    [
        *[
            (
                paradigm,
                {"decomposition.name": "laplacian"},
                "decomposition.name",
                f"{paradigm['paradigm']} generates the image at each resolution: levels, not laplacian",
            )
            for paradigm in (CASCADE, PYRAMID)
        ],
        *[
            (
                paradigm,
                {"training.timesteps": "tied"},
                "training.timesteps",
                f"tied is for dfm; {paradigm['paradigm']} generates one stage after the other",
            )
            for paradigm in (CASCADE, PYRAMID)
        ],
        *[
            (
                paradigm,
                {"sampling.tau": (0.7,)},
                "sampling.tau",
                f"[0.7]: {paradigm['paradigm']} ends a stage before the next begins; give []",
            )
            for paradigm in (CASCADE, PYRAMID)
        ],
        *[
            (
                paradigm,
                {"sampling.steps": (40,)},
                "sampling.steps",
                "[40] has 1 entry for 2 stages: give one number a stage, e.g. [30, 10]",
            )
            for paradigm in (CASCADE, PYRAMID)
        ],
        (
            CASCADE,
            {**THREE, "experts.steps": (1, 1, 1)},
            "decomposition.resolutions",
            "a cascade has two stages, got [8, 16, 32]",
        ),
        (
            CASCADE,
            {"experts.steps": ()},
            "experts.steps",
            "a cascade trains a network per stage: give the steps of each, e.g. [400000, 100000], or experts.compute",
        ),
        (CASCADE, {"experts.steps": (5,)}, "experts.steps", "[5] has 1 entry for 2 stages: give one number a stage"),
        (
            CASCADE,
            {"training.stage_probabilities": (0.5, 0.5)},
            "training.stage_probabilities",
            "means nothing to experts, which have one stage each",
        ),
        *[
            (
                CASCADE,
                {"experts.steps": (), "experts.compute_shares": (0.8, 0.2), f"model.{setting}": value},
                f"model.{setting}",
                "weights per stage mean nothing to a cascade, which has networks per stage",
            )
            for setting, value in (("backbone", "tokenformer"), ("specialization", "mlp"), ("lora_rank", 4))
        ],
        *[
            (CASCADE, {f"model.{setting}": value}, f"model.{setting}", "weights per stage mean nothing to experts")
            for setting, value in (("backbone", "tokenformer"), ("specialization", "mlp"), ("lora_rank", 4))
        ],
        (
            CASCADE,
            {"experts.compute_shares": (0.5, 0.3, 0.2)},
            "experts.compute_shares",
            "[0.5, 0.3, 0.2] has 3 entries for 2 stages: give one number a stage",
        ),
        (
            CASCADE,
            {"experts.compute_shares": (0.8, 0.1)},
            "experts.compute_shares",
            "[0.8, 0.1] must be above 0 and sum to 1; they sum to 0.9",
        ),
        (
            CASCADE,
            {"experts.compute_shares": (1.0, 0.0)},
            "experts.compute_shares",
            "[1.0, 0.0] must be above 0 and sum to 1",
        ),
        (
            PYRAMID,
            {
                "decomposition.resolutions": (32,),
                "model.patch_sizes": (4,),
                "sampling.steps": (40,),
            },
            "decomposition.resolutions",
            "pyramidal_flow has 2 or 3 stages, got [32]",
        ),
        (
            PYRAMID,
            {
                "decomposition.resolutions": (4, 8, 16, 32),
                "model.patch_sizes": (1, 2, 4, 8),
                "sampling.steps": (10,) * 4,
            },
            "decomposition.resolutions",
            "pyramidal_flow has 2 or 3 stages, got [4, 8, 16, 32]",
        ),
        (
            PYRAMID,
            {"decomposition.resolutions": (8, 32), "model.patch_sizes": (1, 4)},
            "decomposition.resolutions",
            "pyramidal_flow doubles the side from stage to stage, not 8 to 32",
        ),
        (PYRAMID, {"experts.steps": (5, 5)}, "experts.steps", "pyramidal_flow has one network; experts are for"),
        (
            PYRAMID,
            {"sampling.guidance_interval": (0.2, 0.7)},
            "sampling.guidance_interval",
            "pyramidal_flow is guided everywhere: give [0.0, 1.0]",
        ),
        (
            PYRAMID,
            {"sampling.time_shift": 3.0},
            "sampling.time_shift",
            "3: pyramidal_flow has a time grid of its own; give 1",
        ),
        (
            PYRAMID,
            {"training.stage_probabilities": (0.5, 0.4)},
            "training.stage_probabilities",
            "[0.5, 0.4] sum to 0.9, not to 1",
        ),
        (
            PYRAMID,
            {"training.stage_probabilities": (0.5, 0.25, 0.25)},
            "training.stage_probabilities",
            "[0.5, 0.25, 0.25] has 3 entries for 2 stages: give one number a stage",
        ),
        (
            PYRAMID,
            {"training.stage_probabilities": (1.0, 0.0)},
            "training.stage_probabilities",
            "[1.0, 0.0]: one network learns all stages, so no share may be 0",
        ),
        (
            PYRAMID,
            {"training.batch_size": 33},
            "training.batch_size",
            "33 is not a multiple of 2, which deals the shares [1, 1] out",
        ),
        (
            PYRAMID,
            {**THREE, "training.batch_size": 30},
            "training.batch_size",
            "30 is not a multiple of 4, which deals the shares [1, 2, 1] out",
        ),
        (
            PYRAMID,
            {"training.stage_probabilities": (0.3, 0.7), "training.batch_size": 64},
            "training.batch_size",
            "64 is not a multiple of 10, which deals the shares [3, 7] out",
        ),
    ],
)
def test_each_broken_rule_is_found(paradigm: dict[str, Any], values: dict[str, Any], key: str, message: str) -> None:
    found = broken_rules(experiment(paradigm, values))
    assert any(where == key and message in what for where, what in found), found


def interval(section: type, field: str) -> Interval:
    """The range that a field of a config section declares, which a sweep file is checked against."""
    (found,) = (x for x in get_type_hints(section, include_extras=True)[field].__metadata__ if isinstance(x, Interval))
    return found


def test_ranges_are_those_in_which_the_mathematics_holds() -> None:
    gamma = interval(PyramidalFlowConfig, "gamma")
    assert (gamma.gt, gamma.le) == (0.0, 1 / 3)
    assert pyramid_stages(2, gamma.le)
    with pytest.raises(ValueError, match="gamma must be in"):
        pyramid_stages(2, nextafter(gamma.le, 1.0))
    noise = interval(SamplingConfig, "condition_noise")
    assert (noise.ge, noise.lt) == (0.0, 1.0)  # at 1 nothing of the condition would be left


@pytest.mark.parametrize("paradigm", [CASCADE, PYRAMID], ids=["cascaded", "pyramidal_flow"])
def test_the_settings_of_the_other_paradigms_are_no_problem(paradigm: dict[str, Any]) -> None:
    values = {"pyramidal_flow.gamma": 0.1, "cascade.condition_tokens": "joined", "sampling.condition_noise": 0.4}
    assert broken_rules(experiment(paradigm, values)) == []


@st.composite
def staged_experiments(draw: st.DrawFn) -> ExperimentConfig:
    """Mostly sound cascades and pyramids with, now and then, a value that does not fit the others."""

    def fitting(value: Any, wild: st.SearchStrategy[Any]) -> Any:
        return draw(wild) if draw(st.integers(0, 9)) == 5 else value

    pyramid = draw(st.sampled_from((False, True)))
    ladders = ((16, 32), (8, 16, 32)) if pyramid else ((16, 32), (8, 32))
    resolutions = fitting(draw(st.sampled_from(ladders)), st.sampled_from(((32,), (16, 32), (8, 32), (8, 16, 32))))
    stages = len(resolutions)
    grid = draw(st.sampled_from(get_args(PatchGrid)))
    patches = (4,) * stages if grid == "per_stage" else tuple(side // 4 for side in resolutions)
    shares = tuple(draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)))
    given_outright = pyramid and draw(st.booleans())
    values: dict[str, Any] = {
        "paradigm": "pyramidal_flow" if pyramid else "cascaded",
        "decomposition.name": fitting("levels", st.sampled_from(("laplacian", "fourier"))),
        "decomposition.resolutions": resolutions,
        "model.size": "nano",
        "model.patch_sizes": patches,
        "model.patch_grid": grid,
        "model.specialization": fitting("none", st.sampled_from(get_args(Specialization))),
        "model.preconditioning": draw(st.sampled_from(("edm", "no_skip", "none"))),
        "training.batch_size": fitting(sum(shares) if given_outright else 4, st.integers(1, 9)),
        "training.stage_probabilities": tuple(s / sum(shares) for s in shares) if given_outright else (),
        "training.class_dropout": draw(st.floats(0, 1)),
        "training.timesteps": fitting("independent", st.just("tied")),
        "data.standardize": draw(st.booleans()),
        "experts.steps": fitting(() if pyramid else (3,) * stages, st.sampled_from(((), (3, 3), (3,)))),
        "cascade.condition_tokens": draw(st.sampled_from(get_args(ConditionTokens))),
        "pyramidal_flow.gamma": draw(st.floats(0.05, 1 / 3)),
        "sampling": SamplingConfig(
            steps=tuple(draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages))),
            tau=fitting((), st.just((0.5,))),
            guidance=draw(st.sampled_from((0.0, 1.0, 2.0))),
            guidance_interval=(0.0, 1.0) if pyramid else (0.2, 0.8),
            solver=draw(st.sampled_from(get_args(Solver))),
            time_shift=1.0 if pyramid else draw(st.floats(0.1, 10)),
            condition_noise=draw(st.floats(0, 0.9)),
        ),
    }
    return with_values(ExperimentConfig(), values)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(staged_experiments())
def test_an_experiment_either_has_problems_or_trains_and_samples(config: ExperimentConfig) -> None:
    problems = broken_rules(config)
    event("has problems" if problems else "runs")
    if problems:
        assert all(hasattr(getattr(config, section), name) for section, name in (key.split(".") for key, _ in problems))
        return
    std = (0.3, 0.4, 0.5)[-config.num_stages :]  # means vary less than what they are means of
    for training in trainings(config):
        assert broken_rules(training) == []
        model = random_model(training, scale_std=std)
        result = paradigm_of(training, std).loss(model, random_batch(config.training.batch_size, side=32))
        result.loss.backward()
        assert torch.isfinite(result.loss)
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    sampler = random_sampler(config, scale_std=std)
    sampled = paradigm_of(config, std).sample(sampler, torch.tensor([0, 1]), range(2), 0, config.sampling)
    assert sampled.images.shape == (2, 1, 32, 32)
    assert torch.isfinite(sampled.images).all()
    assert sampled.num_evaluations == num_evaluations(config)


def test_the_strategy_draws_sound_and_broken_experiments_of_both_paradigms() -> None:
    # Guards the property above against a strategy that has gone one-sided.
    seen = {(paradigm, broken): 0 for paradigm in ("cascaded", "pyramidal_flow") for broken in (True, False)}

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
    @given(staged_experiments())
    def count(config: ExperimentConfig) -> None:
        seen[config.paradigm, bool(broken_rules(config))] += 1

    count()
    assert min(seen.values()) > 5, seen


@settings(max_examples=60)
@given(staged_experiments())
def test_a_config_survives_being_written_down(config: ExperimentConfig) -> None:
    assert from_plain(ExperimentConfig, as_plain(config)) == config


@given(st.lists(st.integers(1, 12), min_size=1, max_size=5))
def test_columns_are_in_the_ratio_of_the_shares_and_as_few_as_can_be(counts: list[int]) -> None:
    shares = [count / sum(counts) for count in counts]
    divisor = gcd(*counts)
    assert stage_columns(shares) == tuple(count // divisor for count in counts)


def test_a_share_too_small_to_be_dealt_out_is_refused() -> None:
    config = tiny_pyramidal_flow({"training.stage_probabilities": (1e-5, 1 - 1e-5)})
    assert any("no share may be 0" in message for _, message in broken_rules(config))


def test_videos_need_positions_that_know_frames() -> None:
    config = tiny_pyramidal_flow({"data.dataset": "kinetics512_cogvideox", "model.positions": "sincos"})
    assert any(key == "model.positions" for key, _ in broken_rules(config))


def test_a_paradigm_of_one_network_has_no_shares_of_compute() -> None:
    config = tiny_pyramidal_flow({"experts.compute_shares": (0.8, 0.2)})
    assert [key for key, _ in broken_rules(config) if key.startswith("experts")] == ["experts.compute_shares"]
