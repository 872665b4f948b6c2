"""Scales that a training hardly sees where signal and noise are about equal."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dfm_core.config import DataConfig, ExperimentConfig, TrainingConfig
from dfm_core.flow.scale_balance import share_near_noise, weak_scales
from dfm_core.flow.timesteps import draw_timesteps

CONFIG = ExperimentConfig(training=TrainingConfig(first_stage_probability=0.5))


@pytest.mark.parametrize(
    ("std", "location", "scale", "share"),
    # Phi(ln(2) / 2) - Phi(-ln(2) / 2), by a table; then the detail scale of the embedded images.
    [(1.0, 0.0, 1.0, 0.2711), (1.0, 0.0, 0.5, 0.5118), (0.21, 0.0, 1.0, 0.0842), (0.21, 1.5606, 1.0, 0.2711)],
)
def test_the_share_near_noise_has_its_known_value(std: float, location: float, scale: float, share: float) -> None:
    assert share_near_noise(std, location, scale) == pytest.approx(share, abs=1e-4)


def test_the_share_is_that_of_real_draws() -> None:
    draw = draw_timesteps(CONFIG, range(40_000))
    own = draw.t[draw.stage == 1, 1].double()
    ratio = (0.21 * own / (1 - own)).square()
    near = ((ratio > 0.5) & (ratio < 2.0)).double().mean().item()
    assert near == pytest.approx(share_near_noise(0.21, 0.0, 1.0), abs=4 * math.sqrt(0.08 / len(own)))
    assert torch.all(own > 0)


def test_a_faint_scale_is_named_with_the_location_that_would_serve() -> None:
    (weak,) = weak_scales(CONFIG, (0.63, 0.21))
    assert (weak.stage, weak.std) == (1, 0.21)
    assert share_near_noise(0.21, weak.equal_location, 1.0) == pytest.approx(share_near_noise(1.0, 0.0, 1.0))


@pytest.mark.parametrize(
    "config",
    [
        replace(CONFIG, data=DataConfig(standardize=True)),
        replace(CONFIG, paradigm="pyramidal_flow"),  # whose stages divide the timesteps among them
        replace(CONFIG, training=replace(CONFIG.training, location=1.5, scale=1.5)),
        replace(CONFIG, training=replace(CONFIG.training, first_stage_probability=1.0)),  # an expert of the first
    ],
)
def test_nothing_is_said_where_scale_and_draws_meet(config: ExperimentConfig) -> None:
    assert list(weak_scales(config, (0.63, 0.21))) == []


def test_standardised_scales_are_weak_at_a_far_location() -> None:
    config = replace(CONFIG, data=DataConfig(standardize=True), training=replace(CONFIG.training, location=3.0))
    assert [weak.stage for weak in weak_scales(config, (0.63, 0.21))] == [0, 1]
