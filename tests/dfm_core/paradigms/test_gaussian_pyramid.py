"""Pyramidal Flow with exact velocities samples Gaussian images with their mean and covariance, thanks to its jumps.

Inside stage q the state is z = N n + x @ B with N and B linear in progress, white noise n of the level and the image x
(numerics 8.2), so v = dN n + x @ dB is a Gaussian vector jointly with z, and E[v | z] is affine in z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.config.choices import Solver
from dfm_core.flow import jumps
from dfm_core.flow.block_noise import repeat_blocks
from dfm_core.models.velocity import scale_shapes
from dfm_core.paradigms import pyramidal_flow
from tests.support.gaussian_images import (
    LADDERS,
    assert_law_of_drawn_samples,
    image_law,
    law_errors,
    maps_to_scales,
)
from tests.support.models import SHAPE, FormulaModel, tiny_pyramidal_flow

STAGES = (2, 3)
GAMMAS = (1 / 3, 0.2)


def experiment(stages: int, gamma: float) -> ExperimentConfig:
    return tiny_pyramidal_flow({"decomposition.resolutions": LADDERS[stages], "pyramidal_flow.gamma": gamma})


def exact_model(config: ExperimentConfig) -> FormulaModel:
    """E[end - start | z] in every stage, where images follow `image_law`."""
    shapes, to_levels = scale_shapes(config, SHAPE), maps_to_scales(config)
    to_coarser = [None, *(upsampled(level) for level in to_levels[:-1])]
    wiring = jumps.pyramid_stages(config.num_stages, config.pyramidal_flow.gamma)
    mean, covariance = image_law()

    def velocity(scales: Sequence[Tensor], t: Tensor, mask: Tensor, _labels: Tensor) -> list[Tensor]:
        q = int(mask[0].sum()) - 1
        stage, coarser = wiring[q], to_coarser[q]
        p = float((t[0, q].double() - stage.start_t) / (stage.end_t - stage.start_t))
        at_end = (1 - stage.end_noise) * to_levels[q]
        at_start = torch.zeros_like(at_end) if coarser is None else (1 - stage.start_noise) * coarser
        signal, change = (1 - p) * at_start + p * at_end, at_end - at_start
        noise, noise_change = (1 - p) * stage.start_noise + p * stage.end_noise, stage.end_noise - stage.start_noise
        white = torch.eye(signal.shape[1], dtype=torch.float64)
        variance = signal.T @ covariance @ signal + noise**2 * white
        both = change.T @ covariance @ signal + noise * noise_change * white
        state = scales[q].double().flatten(1)
        found = mean @ change + (state - mean @ signal) @ torch.linalg.solve(variance, both, left=False).T
        return [found.reshape(-1, *shapes[q]) if s == q else torch.zeros_like(x) for s, x in enumerate(scales)]

    return FormulaModel(velocity, shapes)


def upsampled(level: Tensor) -> Tensor:
    """A map to a level, [64, r r], followed by repetition of its pixels, [64, 4 r r]."""
    side = int(level.shape[1] ** 0.5)
    return repeat_blocks(level.reshape(-1, side, side)).flatten(1)


def sampler(stages: int, steps: int, solver: Solver) -> SamplingConfig:
    """`steps` steps in all."""
    return SamplingConfig((steps // stages,) * stages, (), solver=solver)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize(("solver", "steps"), [("euler", 360), ("heun", 60)])
def test_samples_of_a_gaussian_have_its_mean_and_covariance(
    solver: Solver, steps: int, stages: int, gamma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(stages, gamma)
    mean_error, covariance_error = law_errors(config, exact_model(config), sampler(stages, steps, solver), monkeypatch)
    assert mean_error < 1e-5
    assert covariance_error < 0.03


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_of_the_covariance_falls_with_the_order_of_the_solver(
    solver: Solver, order: int, stages: int, gamma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, grids = experiment(stages, gamma), [60, 120, 240]
    model = exact_model(config)
    found = [law_errors(config, model, sampler(stages, steps, solver), monkeypatch)[1] for steps in grids]
    assert float(np.polyfit(-np.log(grids), np.log(found), deg=1)[0]) == pytest.approx(order, abs=0.15)


def without_rescaling(stage: jumps.PyramidStage) -> jumps.PyramidStage:
    return replace(stage, jump_scale=1.0)


def without_noise(stage: jumps.PyramidStage) -> jumps.PyramidStage:
    return replace(stage, jump_noise=0.0)


def without_both(stage: jumps.PyramidStage) -> jumps.PyramidStage:
    return without_noise(without_rescaling(stage))


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("stages", STAGES)
@pytest.mark.parametrize("broken", [without_rescaling, without_noise, without_both])
def test_without_its_correction_a_jump_spoils_the_covariance(
    broken: Callable[[jumps.PyramidStage], jumps.PyramidStage],
    stages: int,
    gamma: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config, sampling = experiment(stages, gamma), sampler(stages, 60, "heun")
    right = law_errors(config, exact_model(config), sampling, monkeypatch)[1]
    monkeypatch.setattr(
        pyramidal_flow, "pyramid_stages", lambda *given: tuple(map(broken, jumps.pyramid_stages(*given)))
    )
    wrong = law_errors(config, exact_model(config), sampling, monkeypatch)[1]
    assert wrong > 10 * right
    assert wrong > 0.1


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("stages", STAGES)
def test_white_noise_in_a_jump_does_not_repair_the_blocks(
    stages: int, gamma: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, sampling = experiment(stages, gamma), sampler(stages, 60, "heun")
    right = law_errors(config, exact_model(config), sampling, monkeypatch)[1]
    monkeypatch.setattr(pyramidal_flow, "block_noise", lambda white, _gamma: white)
    wrong = law_errors(config, exact_model(config), sampling, monkeypatch)[1]
    assert wrong > 10 * right


@pytest.mark.parametrize("stages", STAGES)
def test_samples_from_drawn_noise_have_the_covariance_within_monte_carlo_error(stages: int) -> None:
    config = experiment(stages, 1 / 3)
    assert_law_of_drawn_samples(config, exact_model(config), sampler(stages, 60, "heun"), solver_error=0.02)
