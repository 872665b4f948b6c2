"""Sampling Gaussian images with the exact velocity gives their mean and covariance, for every decomposition."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dfm_core.config import DecompositionConfig, ExperimentConfig, SamplingConfig
from dfm_core.config.choices import Solver
from dfm_core.config.model import DECOMPOSITION_SETTINGS
from dfm_core.decompositions import DECOMPOSITIONS
from tests.support.gaussian_images import LADDERS, assert_law_of_drawn_samples, gaussian_model, law_errors
from tests.support.models import tiny_dfm

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "laplacian": [{"upsampling": "direct"}, {"upsampling": "doubling"}],
    "wavelet": [{"wavelet": "haar"}, {"wavelet": "db2"}],
    "cosine": [{"domain": domain, "block_size": size} for domain in ("spatial", "frequency") for size in (4, 8)],
}
NAMES = [name for name in DECOMPOSITIONS if "fit" not in DECOMPOSITION_SETTINGS[name]]
CASES = [
    DecompositionConfig(name, LADDERS[stages], **settings)
    for name in NAMES
    for settings in VARIANTS.get(name, [{}])
    for stages in ((1,) if name == "identity" else (2, 3))
]


def case_name(case: DecompositionConfig) -> str:
    settings = [str(getattr(case, setting)) for setting in DECOMPOSITION_SETTINGS[case.name]]
    return "-".join([case.name, *settings, f"S{len(case.resolutions)}"])


def experiment(decomposition: DecompositionConfig) -> ExperimentConfig:
    return replace(tiny_dfm(), decomposition=decomposition)


def errors(config: ExperimentConfig, sampling: SamplingConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Of the mean and the covariance, with the exact velocity."""
    return law_errors(config, gaussian_model(config), sampling, monkeypatch)


def sampler(stages: int, steps: int, solver: Solver, shift: float = 1.0) -> SamplingConfig:
    """`steps` steps in all."""
    return SamplingConfig((steps // stages,) * stages, (0.7, 0.8)[: stages - 1], solver=solver, time_shift=shift)


@pytest.mark.parametrize("case", CASES, ids=case_name)
@pytest.mark.parametrize(("solver", "steps"), [("euler", 240), ("heun", 30)])
def test_samples_of_a_gaussian_have_its_mean_and_covariance(
    case: DecompositionConfig, solver: Solver, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampling = sampler(len(case.resolutions), steps, solver)
    mean_error, covariance_error = errors(experiment(case), sampling, monkeypatch)
    assert mean_error < 1e-6
    assert covariance_error < 0.03


@pytest.mark.parametrize("values", [{"training.timesteps": "tied"}, {"data.standardize": False}], ids=str)
@pytest.mark.parametrize("shift", [1.0, 0.5])
def test_the_law_does_not_depend_on_the_way_through_the_timesteps(
    values: dict[str, Any], shift: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, covariance_error = errors(tiny_dfm(values), sampler(2, 60, "heun", shift), monkeypatch)
    assert covariance_error < 0.01


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2)])
@pytest.mark.parametrize("stages", LADDERS)
def test_the_error_of_the_covariance_falls_with_the_order_of_the_solver(
    solver: Solver, order: int, stages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = experiment(DecompositionConfig("laplacian", LADDERS[stages]))
    grids = [60, 120, 240]
    found = [errors(config, sampler(stages, steps, solver), monkeypatch)[1] for steps in grids]
    assert float(np.polyfit(-np.log(grids), np.log(found), deg=1)[0]) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("stages", LADDERS)
def test_samples_from_drawn_noise_have_the_covariance_within_monte_carlo_error(stages: int) -> None:
    config = experiment(DecompositionConfig("laplacian", LADDERS[stages]))
    assert_law_of_drawn_samples(config, gaussian_model(config), sampler(stages, 30, "heun"), solver_error=0.02)
