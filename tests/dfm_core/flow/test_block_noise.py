"""Noise that is correlated inside blocks: its covariance, read off a basis, and what it repairs (numerics 8.1)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from dfm_core.flow.block_noise import block_mean, block_noise, repeat_blocks
from tests.support.models import golden_json

GAMMAS = (1 / 3, 0.33, 0.1)
SIDE, PIXELS = 4, 16
BASIS = torch.eye(PIXELS, dtype=torch.float64).reshape(PIXELS, 1, SIDE, SIDE)
SAME_BLOCK = (
    repeat_blocks(torch.arange(4.0).reshape(1, 2, 2)).flatten()[:, None]
    == repeat_blocks(torch.arange(4.0).reshape(1, 2, 2)).flatten()
).double()
"""1 where two pixels are of one 2 x 2 block, [16, 16]."""


def covariance(map_of_noise: Tensor) -> Tensor:
    """Of what white noise becomes, from the images of a basis, [pixels, pixels]."""
    columns = map_of_noise.flatten(1)
    return columns.T @ columns


@pytest.mark.parametrize("gamma", GAMMAS)
def test_its_covariance_inside_blocks_is_the_wanted_one_and_blocks_are_independent(gamma: float) -> None:
    expected = (1 + gamma) * torch.eye(PIXELS, dtype=torch.float64) - gamma * SAME_BLOCK
    torch.testing.assert_close(covariance(block_noise(BASIS, gamma)), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", golden_json("pyramid_flow_schedule"))
def test_its_covariance_is_that_of_the_original(name: str) -> None:
    golden = golden_json("pyramid_flow_schedule")[name]
    block = torch.tensor([0, 1, SIDE, SIDE + 1])  # pixels of the first block
    found = covariance(block_noise(BASIS, golden["gamma"]))[block][:, block]
    expected = torch.tensor(golden["block_noise_covariance_4x4"], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_together_with_upsampled_noise_it_is_white(gamma: float) -> None:
    # Upsampled noise has the covariance 1 1^T inside blocks; 1 / gamma of the block noise's makes (1 + 1/gamma) I.
    coarse = torch.eye(4, dtype=torch.float64).reshape(4, 1, 2, 2)
    upsampled = covariance(repeat_blocks(coarse))
    torch.testing.assert_close(upsampled, SAME_BLOCK, rtol=0, atol=0)
    total = upsampled + covariance(block_noise(BASIS, gamma)) / gamma
    torch.testing.assert_close(total, (1 + 1 / gamma) * torch.eye(PIXELS, dtype=torch.float64), rtol=0, atol=1e-13)


def test_at_one_third_the_means_of_blocks_have_no_noise() -> None:
    noise = block_noise(torch.randn(3, 2, 8, 8, dtype=torch.float64), 1 / 3)
    assert float(block_mean(noise).abs().max()) < 1e-12
    assert float(block_mean(block_noise(torch.randn(3, 2, 8, 8, dtype=torch.float64), 0.1)).abs().max()) > 0.1


@pytest.mark.parametrize("lead", [(2, 3), (2, 3, 5)], ids=["image", "video"])
def test_means_and_repetition_are_those_of_torch(lead: tuple[int, ...]) -> None:
    x = torch.randn(*lead, 8, 8, dtype=torch.float64)
    frames = x.reshape(-1, 1, 8, 8)
    torch.testing.assert_close(block_mean(x), avg_pool2d(frames, 2).reshape(*lead, 4, 4))
    assert torch.equal(repeat_blocks(x), interpolate(frames, scale_factor=2, mode="nearest").reshape(*lead, 16, 16))


def test_the_mean_of_repeated_blocks_is_what_was_repeated() -> None:
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(block_mean(repeat_blocks(x)), x, rtol=0, atol=1e-15)
