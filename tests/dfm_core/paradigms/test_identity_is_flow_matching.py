"""DFM with the identity decomposition is flow matching, bit for bit (two implementations held against each other)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from dfm_core.config import ExperimentConfig
from dfm_core.training.engine import PlainEngine
from dfm_core.training.loop import train
from dfm_core.training.steps import LoopPlan
from tests.support.models import paradigm_of, random_batch, random_dataset, random_model, tiny_flow_matching

VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "standardized": {"data.standardize": True},
    "tied": {"training.timesteps": "tied"},
    "other_law": {"training.location": 0.5, "training.scale": 2.0, "training.previous_location": -3.0},
    "one_stage_a_step": {"training.stage_draw": "batch"},
    "unmasked": {"training.loss_masking": False, "model.input_masking": False},
    "laplacian_of_one_scale": {"decomposition.name": "laplacian"},
}
STD = (0.37,)


@pytest.fixture(params=VARIANTS)
def baseline(request: pytest.FixtureRequest) -> ExperimentConfig:
    return tiny_flow_matching(VARIANTS[request.param])


def test_losses_and_gradients_are_bitwise_equal(baseline: ExperimentConfig) -> None:
    results, gradients = [], []
    for config in (baseline, replace(baseline, paradigm="dfm")):
        model = random_model(config, scale_std=STD)
        results.append(paradigm_of(config, STD).loss(model, random_batch(8, first_index=40)))
        results[-1].loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert torch.equal(results[0].loss, results[1].loss)
    assert torch.equal(results[0].stage_losses, results[1].stage_losses)
    assert torch.equal(results[0].stage_counts, results[1].stage_counts)
    assert torch.equal(results[0].timestep_sums, results[1].timestep_sums)
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.equal(gradient, gradients[1][name]), name


SAMPLERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "guided": {"guidance": 2.5},
    "guided_in_an_interval": {"guidance": 2.5, "guidance_interval": (0.3, 0.7)},
    "heun": {"solver": "heun"},
    "shifted": {"time_shift": 3.0},
    "all": {"guidance": 2.5, "guidance_interval": (0.1, 0.7), "solver": "heun", "time_shift": 3.0},
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_and_previews_are_bitwise_equal(baseline: ExperimentConfig, sampler: str) -> None:
    samples, previews = [], []
    for config in (baseline, replace(baseline, paradigm="dfm")):
        model, sampling = random_model(config, scale_std=STD), replace(config.sampling, **SAMPLERS[sampler])
        seen: list[torch.Tensor] = []
        paradigm, labels = paradigm_of(config, STD), torch.tensor([0, 1, 2])
        samples.append(
            paradigm.sample(model, labels, range(3), 9, sampling, lambda p, seen=seen: seen.append(p.preview()))
        )
        previews.append(torch.stack(seen))
    assert torch.equal(samples[0].images, samples[1].images)
    assert torch.equal(previews[0], previews[1])
    assert samples[0].num_evaluations == samples[1].num_evaluations


def test_trainings_are_bitwise_equal(baseline: ExperimentConfig) -> None:
    curves, weights = [], []
    for config in (baseline, replace(baseline, paradigm="dfm")):
        engine = PlainEngine(random_model(config, scale_std=STD), config.training, num_micro_batches=2)
        plan = LoopPlan(until_step=3, micro_batch_size=4, log_every=1, save_at=frozenset())
        curves.append(train(config, paradigm_of(config, STD), random_dataset(), engine, plan))
        weights.append(dict(engine.tensors("ema")))
    assert curves[0] == curves[1]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name
