"""Gaussian images, and the law of what a paradigm samples with a velocity that is affine in the state.

Sampling is then an affine map of all noise that is drawn. Fed with 0 and a basis instead of noise it shows that map:
the covariance is compared without a Monte-Carlo error.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dfm_core.config import ExperimentConfig, SamplingConfig
from dfm_core.decompositions import build_decomposition
from dfm_core.models.velocity import scale_shapes
from dfm_core.paradigms import sampling as sampler
from tests.support.models import SHAPE, FormulaModel, paradigm_of

SIDE, PIXELS = 8, 64
LADDERS = {1: (8,), 2: (4, 8), 3: (2, 4, 8)}


def image_law() -> tuple[Tensor, Tensor]:
    """Mean, [64], and covariance, [64, 64], of smooth images with values of spread 0.5; float64."""
    position = torch.arange(SIDE, dtype=torch.float64)
    along_axis = torch.exp(-(position[:, None] - position[None, :]).abs() / 3)
    mean = torch.sin(torch.arange(PIXELS, dtype=torch.float64)) / 2
    return mean, 0.25 * torch.kron(along_axis, along_axis)


def maps_to_scales(config: ExperimentConfig) -> list[Tensor]:
    """Return the decomposition as maps of images: x_s = image @ map_s, [64, values of scale s]."""
    basis = torch.eye(PIXELS, dtype=torch.float64).reshape(PIXELS, 1, SIDE, SIDE)
    return [x.flatten(1) for x in build_decomposition(config.decomposition).analyze(basis)]


def gaussian_model(config: ExperimentConfig) -> FormulaModel:
    """E[X_1 - X_0 | active scales], where images follow `image_law` and each scale is noised by itself.

    With K = T C T + (1 - T)^2 over the active values, v = m + (C T - (1 - T)) K^-1 (x - T m).
    """
    shapes = scale_shapes(config, SHAPE)
    sizes = [torch.Size(shape).numel() for shape in shapes]
    to_scales = torch.cat(maps_to_scales(config), dim=1)
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
    config: ExperimentConfig, model: FormulaModel, sampling: SamplingConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[Tensor, Tensor]:
    """Mean, [64], and covariance, [64, 64], of sampled images, read off the map from noise to images."""
    streams = {f"sample_noise/{s}": torch.Size(shape).numel() for s, shape in enumerate(model.scale_shapes)}
    if config.paradigm == "cascaded":
        streams["condition_noise/0"] = torch.Size(model.scale_shapes[0]).numel()
    count = sum(streams.values())
    parts = torch.cat([torch.zeros(1, count), torch.eye(count)]).split(list(streams.values()), dim=1)
    noises = dict(zip(streams, parts, strict=True))

    def basis(_seed: int, stream: str, _indices: Sequence[int], shape: tuple[int, ...]) -> Tensor:
        return noises[stream].reshape(-1, *shape)

    monkeypatch.setattr(sampler, "normal", basis)
    labels = torch.zeros(1 + count, dtype=torch.int64)
    images = paradigm_of(config).sample(model, labels, range(1 + count), 0, sampling).images.double().flatten(1)
    columns = images[1:] - images[0]
    return images[0], columns.T @ columns


def law_errors(
    config: ExperimentConfig, model: FormulaModel, sampling: SamplingConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[float, float]:
    """Largest error of the mean and relative error of the covariance (Frobenius) of sampled images."""
    mean, covariance = sampled_law(config, model, sampling, monkeypatch)
    true_mean, true_covariance = image_law()
    return float((mean - true_mean).abs().max()), float((covariance - true_covariance).norm() / true_covariance.norm())


def assert_law_of_drawn_samples(
    config: ExperimentConfig, model: FormulaModel, sampling: SamplingConfig, solver_error: float
) -> None:
    """Samples from drawn noise have the law of the images within their Monte-Carlo error.

    For n Gaussian samples E |S - C|^2 = (tr(C)^2 + |C|^2) / n in the Frobenius norm; the solver's relative error comes
    on top.
    """
    count = 2000
    labels = torch.zeros(count, dtype=torch.int64)
    images = paradigm_of(config).sample(model, labels, range(count), 3, sampling).images
    mean, covariance = image_law()
    found = images.double().flatten(1)
    monte_carlo = float(((covariance.trace() ** 2 + covariance.norm() ** 2) / count) ** 0.5)
    error = float((found.T.cov() - covariance).norm())
    assert error < 1.5 * monte_carlo + solver_error * float(covariance.norm())
    assert float(((found.mean(dim=0) - mean) / covariance.diagonal().sqrt()).abs().max()) < 4.5 / count**0.5
