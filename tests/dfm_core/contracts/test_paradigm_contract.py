"""What every paradigm promises; run over the registry."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from dfm_core.compute import num_evaluations
from dfm_core.config import ExperimentConfig
from dfm_core.models.dit import DiT
from dfm_core.paradigms import PARADIGMS, Batch
from tests.support.models import (
    NUM_CLASSES,
    PARADIGM_CONFIGS,
    paradigm_of,
    random_batch,
    random_model,
    random_sampler,
    trainings,
    with_values,
)

SEED = 5


TRAININGS = {
    f"{name}-{number}": training
    for name, config in PARADIGM_CONFIGS.items()
    for number, training in enumerate(trainings(config))
}
"""What has a loss: a paradigm, or each network of a cascade."""


@pytest.fixture(params=PARADIGMS)
def config(request: pytest.FixtureRequest) -> ExperimentConfig:
    """What makes images."""
    return PARADIGM_CONFIGS[request.param]


@pytest.fixture(params=TRAININGS)
def training(request: pytest.FixtureRequest) -> ExperimentConfig:
    return TRAININGS[request.param]


def part_of(batch: Batch, rows: slice) -> Batch:
    return Batch(batch.images[rows], batch.labels[rows], batch.indices[rows])


def test_every_paradigm_has_a_config_here() -> None:
    assert set(PARADIGM_CONFIGS) == set(PARADIGMS)


def test_the_loss_is_a_function_of_its_arguments(training: ExperimentConfig) -> None:
    model, batch = random_model(training), random_batch()
    first = paradigm_of(training).loss(model, batch)
    torch.manual_seed(99)
    again = paradigm_of(training).loss(model, batch)
    assert torch.equal(first.loss, again.loss)
    assert torch.equal(first.stage_losses, again.stage_losses)


def test_the_loss_of_a_batch_is_the_mean_over_its_parts(training: ExperimentConfig) -> None:
    model, batch = random_model(training), random_batch(8)
    whole = paradigm_of(training).loss(model, batch)
    parts = [paradigm_of(training).loss(model, part_of(batch, rows)) for rows in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close((parts[0].loss + parts[1].loss) / 2, whole.loss, rtol=1e-5, atol=0)
    torch.testing.assert_close(parts[0].stage_losses + parts[1].stage_losses, whole.stage_losses, rtol=1e-5, atol=0)
    assert torch.equal(parts[0].stage_counts + parts[1].stage_counts, whole.stage_counts)


def test_stage_losses_add_up_to_the_loss(training: ExperimentConfig) -> None:
    result = paradigm_of(training).loss(random_model(training), random_batch(8))
    assert result.loss.ndim == 0
    assert result.stage_losses.shape == result.stage_counts.shape == (training.num_stages,)
    torch.testing.assert_close(result.stage_losses.sum() / 8, result.loss.detach(), rtol=1e-5, atol=0)
    assert not result.stage_losses.requires_grad


@pytest.mark.parametrize("change", ["seed", "index"])
def test_another_seed_or_index_gives_another_loss(training: ExperimentConfig, change: str) -> None:
    model, batch = random_model(training), random_batch()
    other_training = replace(training, seed=1) if change == "seed" else training
    other_batch = replace(batch, indices=range(4, 8)) if change == "index" else batch
    assert paradigm_of(training).loss(model, batch).loss != paradigm_of(other_training).loss(model, other_batch).loss


def test_the_gradient_of_the_loss_is_its_slope(training: ExperimentConfig) -> None:
    model, batch = random_model(training), random_batch(8)
    paradigm_of(training).loss(model, batch).loss.backward()
    parameter = model.network.blocks[0].mlp.fc1.weight
    with torch.no_grad():
        step = 1e-2 * parameter.grad / parameter.grad.norm()
        parameter += step
        above = paradigm_of(training).loss(model, batch).loss
        parameter -= 2 * step
        below = paradigm_of(training).loss(model, batch).loss
    assert float((above - below) / 2) == pytest.approx(float((parameter.grad * step).sum()), rel=1e-2)


def test_every_weight_learns_from_a_batch(training: ExperimentConfig) -> None:
    model = random_model(training)
    paradigm_of(training).loss(model, random_batch(8)).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("index", [0, 1])
def test_a_micro_batch_that_lacks_a_stage_gives_every_weight_a_gradient(training: ExperimentConfig, index: int) -> None:
    # ZeRO reduces the gradients of all workers: one that has none would leave the others waiting.
    model = random_model(training)
    paradigm_of(training).loss(model, random_batch(1, first_index=index)).loss.backward()
    assert [name for name, weight in model.named_parameters() if weight.grad is None] == []


def test_samples_do_not_depend_on_how_they_are_batched(config: ExperimentConfig) -> None:
    model, paradigm = random_sampler(config), paradigm_of(config)
    labels = torch.arange(5) % NUM_CLASSES
    whole = paradigm.sample(model, labels, range(5), SEED, config.sampling).images
    parts = [
        paradigm.sample(model, labels[rows], range(5)[rows], SEED, config.sampling).images
        for rows in (slice(0, 2), slice(2, 5))
    ]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-5)


def test_samples_differ_by_seed_index_and_label(config: ExperimentConfig) -> None:
    model, paradigm, labels = random_sampler(config), paradigm_of(config), torch.zeros(2, dtype=torch.int64)
    base = paradigm.sample(model, labels, [0, 1], SEED, config.sampling).images
    others = [
        paradigm.sample(model, labels, [0, 1], SEED + 1, config.sampling).images,
        paradigm.sample(model, labels, [2, 3], SEED, config.sampling).images,
        paradigm.sample(model, labels + 1, [0, 1], SEED, config.sampling).images,
    ]
    assert all((base - other).flatten(1).abs().amax(dim=1).min() > 1e-4 for other in others)
    assert not torch.allclose(base[0], base[1])


def test_samples_are_float32_images_without_gradient(config: ExperimentConfig) -> None:
    model, paradigm = random_sampler(config, channels=2), paradigm_of(config)
    images = paradigm.sample(model, torch.zeros(3, dtype=torch.int64), range(3), SEED, config.sampling).images
    assert images.shape == (3, 2, 8, 8)
    assert images.dtype == torch.float32
    assert not images.requires_grad


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_evaluations_are_counted_as_they_happen(config: ExperimentConfig, guidance: float) -> None:
    config = with_values(config, {"sampling.guidance": guidance})
    model, rows = random_sampler(config), []
    for network in (module for module in model.modules() if isinstance(module, DiT)):
        network.register_forward_hook(lambda _m, args, _o: rows.append(args[1].shape[0]))
    result = paradigm_of(config).sample(model, torch.zeros(3, dtype=torch.int64), range(3), SEED, config.sampling)
    assert sum(rows) / 3 == result.num_evaluations == num_evaluations(config)
    assert result.num_evaluations == sum(config.sampling.steps) * math.ceil(guidance)


def test_guidance_one_is_the_limit_of_its_neighbours(config: ExperimentConfig) -> None:
    model, labels = random_sampler(config), torch.zeros(2, dtype=torch.int64)
    images = [
        paradigm_of(config).sample(model, labels, range(2), SEED, replace(config.sampling, guidance=guidance)).images
        for guidance in (1.0, 1.0 + 1e-6, 3.0)
    ]
    torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-4)
    assert not torch.allclose(images[0], images[2], atol=1e-2)


def test_guidance_zero_ignores_the_label(config: ExperimentConfig) -> None:
    model, sampling = random_sampler(config), replace(config.sampling, guidance=0.0)
    a, b = (
        paradigm_of(config).sample(model, torch.full((2,), label), range(2), SEED, sampling).images for label in (0, 1)
    )
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_standardisation_is_undone_by_sampling(config: ExperimentConfig) -> None:
    # The same network on scales divided by 2 makes images that are twice as large.
    config = with_values(config, {"data.standardize": True})
    model, labels = random_sampler(config), torch.zeros(2, dtype=torch.int64)
    ones, twos = (
        paradigm_of(config, (std,) * config.num_stages).sample(model, labels, range(2), SEED, config.sampling).images
        for std in (1.0, 2.0)
    )
    torch.testing.assert_close(twos, 2 * ones)


def test_class_dropout_one_makes_labels_irrelevant_and_zero_keeps_them(training: ExperimentConfig) -> None:
    model, batch = random_model(training), random_batch()
    other = replace(batch, labels=(batch.labels + 1) % NUM_CLASSES)
    for probability, same in ((1.0, True), (0.0, False)):
        paradigm = paradigm_of(with_values(training, {"training.class_dropout": probability}))
        assert torch.equal(paradigm.loss(model, batch).loss, paradigm.loss(model, other).loss) is same
