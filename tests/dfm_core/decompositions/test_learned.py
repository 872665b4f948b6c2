"""The learned pyramid: what it starts from, what fitting gains, and that it can be repeated (numerics 2.6)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from dfm_core.config import DecompositionConfig
from dfm_core.config.model import PyramidFitConfig
from dfm_core.data.image_dataset import load_dataset
from dfm_core.decompositions import build_decomposition
from dfm_core.decompositions.laplacian import LaplacianPyramid
from dfm_core.decompositions.learned import fit_pyramid, initial_pyramid

CONFIG = DecompositionConfig(
    name="learned", resolutions=(16, 32), fit=PyramidFitConfig(width=8, steps=60, batch_size=16, learning_rate=5e-3)
)


def random_images(side: int = 32, channels: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (8, channels, side, side), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize("resolutions", [(16, 32), (8, 32), (8, 16, 32)])
def test_it_starts_as_the_laplacian_pyramid(resolutions: tuple[int, ...]) -> None:
    config = replace(CONFIG, resolutions=resolutions)
    pyramid = build_decomposition(config, initial_pyramid(config, 1))
    image = torch.randn(2, 1, 32, 32)
    expected = LaplacianPyramid(resolutions, "doubling").analyze(image)
    for scale, laplacian in zip(pyramid.analyze(image), expected, strict=True):
        torch.testing.assert_close(scale, laplacian, rtol=0, atol=1e-6)


def test_fitting_lowers_the_detail_of_unseen_images_and_keeps_the_coarse_image() -> None:
    weights = fit_pyramid(CONFIG, load_dataset("fashion_mnist", "train").pixels, 1, seed=0)
    unseen = load_dataset("fashion_mnist", "reference").images(slice(0, 200))
    laplacian = LaplacianPyramid((16, 32)).analyze(unseen)
    learned = build_decomposition(CONFIG, weights).analyze(unseen)
    assert learned[1].square().mean() < 0.75 * laplacian[1].square().mean()
    assert (learned[0] - laplacian[0]).square().mean() < 0.1 * laplacian[0].var()


def test_a_seed_gives_the_same_weights_bitwise_without_the_global_generator() -> None:
    config = replace(CONFIG, fit=replace(CONFIG.fit, steps=3))
    state = torch.get_rng_state()
    first = fit_pyramid(config, random_images(), 1, seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    again, other = (fit_pyramid(config, random_images(), 1, seed=seed) for seed in (4, 5))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["down_16.enter.weight"], other["down_16.enter.weight"])


def test_pixels_model_range_and_batches_fit_alike() -> None:
    config = replace(CONFIG, fit=replace(CONFIG.fit, steps=2, batch_size=8))
    images = random_images()[:1].expand(8, -1, -1, -1)  # all equal, so that the order does not matter
    floats = images.float() / 127.5 - 1.0
    fits = [fit_pyramid(config, given, 1, seed=0) for given in (images, floats, [floats, floats, floats])]
    assert all(torch.equal(fits[0][name], fit[name]) for fit in fits[1:] for name in fit)


def test_videos_are_fitted_frame_by_frame() -> None:
    config = replace(CONFIG, fit=replace(CONFIG.fit, steps=1))
    video = random_images(channels=2).unflatten(0, (4, 2)).transpose(1, 2).float()  # [4, C, T, H, W]
    as_video = fit_pyramid(config, [video], 2, seed=0)
    as_images = fit_pyramid(config, [random_images(channels=2).float()], 2, seed=0)
    assert all(torch.equal(as_video[name], as_images[name]) for name in as_images)


def test_a_heavier_coarse_weight_keeps_the_coarse_image_nearer_to_the_mean() -> None:
    images, drifts = random_images(), []
    for coarse_weight in (0.0, 10.0):
        config = replace(CONFIG, fit=replace(CONFIG.fit, steps=20, coarse_weight=coarse_weight))
        data = images.float() / 127.5 - 1.0
        learned = build_decomposition(config, fit_pyramid(config, images, 1, seed=0)).analyze(data)
        drifts.append(float((learned[0] - LaplacianPyramid((16, 32)).analyze(data)[0]).square().mean()))
    assert drifts[1] < 0.1 * drifts[0]


def test_progress_is_told_the_steps_done() -> None:
    told: list[int] = []
    fit_pyramid(replace(CONFIG, fit=replace(CONFIG.fit, steps=3)), random_images(), 1, 0, told.append)
    assert told == [1, 2, 3]


def test_missing_weights_say_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"needs weights: make them with .*fit_pyramid"):
        build_decomposition(CONFIG)


@pytest.mark.parametrize("resolutions", [(8, 32), (8, 16), (8, 16, 32)])
def test_weights_of_other_resolutions_are_refused(resolutions: tuple[int, ...]) -> None:
    weights = initial_pyramid(CONFIG, 1)
    with pytest.raises(ValueError, match=r"weights of \['down_16', 'up_16'\] are not those of .*: fit the pyramid"):
        build_decomposition(replace(CONFIG, resolutions=resolutions), weights)


def test_one_scale_leaves_nothing_to_learn() -> None:
    with pytest.raises(ValueError, match=r"nothing to learn with resolutions \(32,\): give two"):
        fit_pyramid(replace(CONFIG, resolutions=(32,)), random_images(), 1, seed=0)


def test_too_few_batches_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"1 batches for 60 steps: give more, or lower decomposition\.fit\.steps"):
        fit_pyramid(CONFIG, [random_images().float()], 1, seed=0)


def test_images_of_another_side_are_refused() -> None:
    with pytest.raises(ValueError, match=r"LearnedPyramid was made for \[B, C, 32, 32\] images"):
        fit_pyramid(CONFIG, random_images(side=16), 1, seed=0)
