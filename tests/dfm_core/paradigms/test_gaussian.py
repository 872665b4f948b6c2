"""Sampling Gaussian images with the exact velocity gives their mean and covariance, for every decomposition.

With scales X = A x of x ~ N(m, C), the exact velocity at timesteps T is affine in the state, so sampling is an affine
map of the noise. Fed with 0 and a basis instead of noise it shows that map: the covariance is compared without a
Monte-Carlo error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dfm_core.config import DECOMPOSITION_SETTINGS, DecompositionConfig, ExperimentConfig, SamplingConfig, Solver
from dfm_core.decompositions import DECOMPOSITIONS, build_decomposition
from dfm_core.models.velocity import scale_shapes
from dfm_core.paradigms import following
from tests.dfm_core.builders import SHAPE, FormulaModel, paradigm_of, tiny_dfm

SIDE, PIXELS = 8, 64
LADDERS = {1: (8,), 2: (4, 8), 3: (2, 4, 8)}
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


def image_law() -> tuple[Tensor, Tensor]:
    """Mean, [64], and covariance, [64, 64], of smooth images with values of spread 0.5; float64."""
    position = torch.arange(SIDE, dtype=torch.float64)
    along_axis = torch.exp(-(position[:, None] - position[None, :]).abs() / 3)
    mean = torch.sin(torch.arange(PIXELS, dtype=torch.float64)) / 2
    return mean, 0.25 * torch.kron(along_axis, along_axis)


def gaussian_model(config: ExperimentConfig) -> FormulaModel:
    """E[X_1 - X_0 | active scales], where images follow `image_law`.

    With K = T C T + (1 - T)^2 over the active values, v = m + (C T - (1 - T)) K^-1 (x - T m).
    """
    shapes = scale_shapes(config, SHAPE)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    basis = torch.eye(PIXELS, dtype=torch.float64).reshape(PIXELS, 1, SIDE, SIDE)
    to_scales = torch.cat([x.flatten(1) for x in build_decomposition(config.decomposition).analyze(basis)], dim=1)
    image_mean, image_covariance = image_law()
    mean, covariance = image_mean @ to_scales, to_scales.T @ image_covariance @ to_scales

    def velocity(scales: Sequence[Tensor], t: Tensor, mask: Tensor, _labels: Tensor) -> list[Tensor]:
        active = sum(sizes[: int(mask[0].sum())])
        times = torch.cat([t[0, s].double().expand(size) for s, size in enumerate(sizes)])[:active]
        state = torch.cat([x.double().flatten(1) for x in scales], dim=1)
        part, centre = covariance[:active, :active], mean[:active]
        noisy = times[:, None] * part * times[None, :] + torch.diag((1 - times) ** 2)
        gain = torch.linalg.solve(noisy, part * times[None, :] - torch.diag(1 - times), left=False)
        found = torch.zeros_like(state)
        found[:, :active] = centre + (state[:, :active] - times * centre) @ gain.T
        return [part.reshape(-1, *shape) for part, shape in zip(found.split(sizes, dim=1), shapes, strict=True)]

    return FormulaModel(velocity, shapes)


def sampled_law(
    config: ExperimentConfig, sampling: SamplingConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """Mean, [64], and covariance, [64, 64], of sampled images, read off the map from noise to images."""
    model = gaussian_model(config)
    sizes = [torch.Size(shape).numel() for shape in model.scale_shapes]
    noises = torch.cat([torch.zeros(1, sum(sizes)), torch.eye(sum(sizes))]).split(sizes, dim=1)

    def basis(_seed: int, stream: str, _indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        return noises[int(stream.removeprefix("sample_noise/"))].reshape(-1, *shape)

    monkeypatch.setattr(following, "normal", basis)
    rows = 1 + sum(sizes)
    labels = torch.zeros(rows, dtype=torch.int64)
    images = paradigm_of(config).sample(model, labels, range(rows), 0, sampling).images.double().flatten(1)
    columns = images[1:] - images[0]
    return images[0], columns.T @ columns


def experiment(decomposition: DecompositionConfig) -> ExperimentConfig:
    return replace(tiny_dfm(), decomposition=decomposition)


def errors(config: ExperimentConfig, sampling: SamplingConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float]:
    """Largest error of the mean and relative error of the covariance (Frobenius)."""
    (mean, covariance), (true_mean, true_covariance) = sampled_law(config, sampling, monkeypatch), image_law()
    return float((mean - true_mean).abs().max()), float((covariance - true_covariance).norm() / true_covariance.norm())


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
def test_samples_from_drawn_noise_have_the_covariance_within_their_monte_carlo_error(stages: int) -> None:
    # For n Gaussian samples E |S - C|^2 = (tr(C)^2 + |C|^2) / n in the Frobenius norm; the solver's error comes on top.
    config, count = experiment(DecompositionConfig("laplacian", LADDERS[stages])), 2000
    labels, sampling = torch.zeros(count, dtype=torch.int64), sampler(stages, 30, "heun")
    images = paradigm_of(config).sample(gaussian_model(config), labels, range(count), 3, sampling).images
    mean, covariance = image_law()
    found = images.double().flatten(1)
    monte_carlo = float(((covariance.trace() ** 2 + covariance.norm() ** 2) / count) ** 0.5)
    error = float((found.T.cov() - covariance).norm())
    assert error < 1.5 * monte_carlo + 0.02 * float(covariance.norm())
    assert float(((found.mean(dim=0) - mean) / covariance.diagonal().sqrt()).abs().max()) < 4.5 / count**0.5
