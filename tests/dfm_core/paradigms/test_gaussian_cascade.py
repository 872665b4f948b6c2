"""A cascade with exact velocities samples Gaussian images with their mean and covariance (numerics 7).

The first leg makes the exact law of the coarse level. Whatever noise the condition then gets, the second network's
velocity given both its state and the condition, at the condition's own timestep, carries noise to the law of the image
given that condition; averaged over conditions, that is the law of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.config import SamplingConfig
from dfm_core.config.choices import Solver
from dfm_core.flow.block_noise import block_mean
from dfm_core.paradigms.base import SampleProgress
from tests.support.gaussian_images import assert_law_of_drawn_samples, gaussian_model, law_errors
from tests.support.models import FormulaModel, paradigm_of, tiny_cascade

CASCADE = tiny_cascade(None)
LEVELS = (0.0, 0.025, 0.3)


def sampler(steps: int, solver: Solver, condition_noise: float, shift: float = 1.0) -> SamplingConfig:
    """`steps` steps in all."""
    return SamplingConfig(
        (steps // 2, steps // 2), (), solver=solver, time_shift=shift, condition_noise=condition_noise
    )


@pytest.mark.parametrize("condition_noise", LEVELS)
@pytest.mark.parametrize(("solver", "steps"), [("euler", 240), ("heun", 40)])
def test_samples_of_a_gaussian_have_its_mean_and_covariance(
    solver: Solver, steps: int, condition_noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = sampler(steps, solver, condition_noise)
    mean_error, covariance_error = law_errors(CASCADE, gaussian_model(CASCADE), sampling, monkeypatch)
    assert mean_error < 1e-5
    assert covariance_error < 0.03


@pytest.mark.parametrize("condition_noise", LEVELS)
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_of_the_covariance_falls_with_the_order_of_the_solver(
    solver: Solver, order: int, condition_noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    grids, model = [60, 120, 240], gaussian_model(CASCADE)
    found = [law_errors(CASCADE, model, sampler(steps, solver, condition_noise), monkeypatch)[1] for steps in grids]
    assert float(np.polyfit(-np.log(grids), np.log(found), deg=1)[0]) == pytest.approx(order, abs=0.15)


def test_the_law_does_not_depend_on_the_grid_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = sampler(80, "heun", 0.025, shift=0.5)
    assert law_errors(CASCADE, gaussian_model(CASCADE), sampling, monkeypatch)[1] < 0.01


def test_a_network_that_takes_a_noisy_condition_for_clean_misses_the_covariance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact, sampling = gaussian_model(CASCADE), sampler(60, "heun", 0.3)

    def blind(scales: Sequence[Tensor], t: Tensor, mask: Tensor, labels: Tensor) -> list[Tensor]:
        held = t.clone()
        held[:, 0] = torch.where(mask[:, 1] > 0, 1.0, t[:, 0])
        return exact(scales, held, mask, labels)

    right = law_errors(CASCADE, exact, sampling, monkeypatch)[1]
    wrong = law_errors(CASCADE, FormulaModel(blind, exact.scale_shapes), sampling, monkeypatch)[1]
    assert wrong > 10 * right
    assert wrong > 0.1


def test_without_noise_between_networks_the_first_output_is_the_coarse_level() -> None:
    model, labels = gaussian_model(CASCADE), torch.zeros(5, dtype=torch.int64)
    differences = {}
    for condition_noise in (0.0, 0.3):
        seen: list[SampleProgress] = []
        sampling = sampler(80, "heun", condition_noise)
        images = paradigm_of(CASCADE).sample(model, labels, range(5), 3, sampling, seen.append).images
        differences[condition_noise] = float((block_mean(images.double()) - seen[39].scales[0]).abs().max())
    assert differences[0.0] < 1e-3
    assert differences[0.3] > 0.1


def test_samples_from_drawn_noise_have_the_covariance_within_monte_carlo_error() -> None:
    assert_law_of_drawn_samples(CASCADE, gaussian_model(CASCADE), sampler(40, "heun", 0.025), solver_error=0.02)
