"""Training autoencoders: the loss against answers by hand, resuming bit for bit, and what the regularization does."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.autoencoder_training.finetuning import FinetuningLoss, finetune, in_colour, scale_factor
from dfm_core.autoencoder_training.measures import measure_autoencoder
from dfm_core.autoencoders.architecture import KlArchitecture
from dfm_core.autoencoders.base import Posterior
from dfm_core.autoencoders.initialization import random_autoencoder
from dfm_core.autoencoders.registry import load_autoencoder
from dfm_core.data.image_dataset import ImageDataset, load_dataset
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import STATE_KINDS, PlainEngine
from dfm_core.training.steps import LoopPlan
from tests.support.state_folders import read_folder
from tests.support.tiny_autoencoders import save_cogvideox
from tests.support.training_recorder import Recorder

CONFIG = FinetuningConfig(steps=6, batch_size=4, learning_rate=5e-3, warmup_steps=2)
SMALL = KlArchitecture(widths=(4, 8, 8), norm_groups=4)
TRAIN = load_dataset("fashion_mnist", "train")


def fashion(count: int) -> Tensor:
    return in_colour(TRAIN.images(slice(0, count)))


class Shifted(nn.Module):
    """Latents are the pixels, scaled, shifted and with a spread; decoding anything smaller is off by `error`."""

    scale, shift = 0.5, 0.25

    def __init__(self, side: int, error: float) -> None:
        super().__init__()
        self.network, self.side, self.error = nn.Identity(), side, error

    def encode(self, pixels: Tensor) -> Posterior:
        return Posterior((pixels - self.shift) * self.scale, torch.full_like(pixels, 0.2 * self.scale))

    def decode(self, latents: Tensor) -> Tensor:
        error = self.error if latents.shape[-1] < self.side else 0.0
        return latents / self.scale + self.shift + error


def terms(config: FinetuningConfig, noise: float, factor: int | None, error: float = 0.3) -> list[float]:
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    loss = FinetuningLoss(Shifted(8, error), config)  # type: ignore[arg-type]  # all that the loss reads of one
    return [float(term) for term in loss(pixels, torch.full_like(pixels, noise), factor)]


def test_the_loss_is_what_it_is_by_hand() -> None:
    config = replace(CONFIG, l1_weight=2.0, l2_weight=3.0, kl_weight=0.125, equivariance_weight=0.5)
    pixels = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    kl = float(kl_divergence(Normal(pixels, 0.2), Normal(0.0, 1.0)).mean())
    downscaled = 2 * 0.3 + 3 * 0.3**2
    assert terms(config, 0.0, 2) == pytest.approx([0.125 * kl + 0.5 * downscaled, 0.0, kl, downscaled], abs=1e-6)
    assert terms(config, 0.0, None) == pytest.approx([0.125 * kl, 0.0, kl], abs=1e-6)
    reconstruction, off = 2 * 0.2 + 3 * 0.2**2, 2 * 0.5 + 3 * 0.5**2  # a noise of 1 adds one standard deviation
    assert terms(config, 1.0, 4)[1:] == pytest.approx([reconstruction, kl, off], abs=1e-5)


@pytest.mark.parametrize("how", ["mean", "bilinear"])
def test_what_commutes_with_making_smaller_costs_nothing(how: str) -> None:
    config = replace(CONFIG, downscaling=how)  # type: ignore[arg-type]  # a parameter is a str
    for factor in (2, 4):
        assert terms(config, 0.0, factor, error=0.0)[3] == pytest.approx(0.0, abs=1e-6)


def gradients(weight: float, factor: int | None) -> dict[str, Tensor]:
    loss = FinetuningLoss(random_autoencoder(SMALL, 0), replace(CONFIG, equivariance_weight=weight))
    loss(fashion(2), torch.zeros(2, 4, 8, 8), factor)[0].backward()
    return {name: p.grad for name, p in loss.named_parameters() if p.grad is not None}


def test_the_regularization_reaches_encoder_and_decoder() -> None:
    without, zero, one = gradients(1.0, None), gradients(0.0, 2), gradients(1.0, 2)
    names = [name for name, _ in FinetuningLoss(random_autoencoder(SMALL, 0), CONFIG).named_parameters()]
    assert list(without) == list(one) == names  # every weight is trained
    for name in names:
        assert torch.allclose(without[name], zero[name], atol=1e-7), name
    changed = {name.split(".")[1] for name in names if not torch.allclose(one[name], zero[name], atol=1e-5)}
    assert changed == {"encoder", "decoder"}


def test_each_step_draws_one_factor_evenly() -> None:
    config = replace(CONFIG, scale_factors=(2, 3, 4))
    drawn = Counter(scale_factor(config, step) for step in range(3000))
    assert all(abs(drawn[factor] - 1000) < 4 * (3000 * 2 / 9) ** 0.5 for factor in (2, 3, 4))
    assert scale_factor(replace(config, scale_equivariance=False), 7) is None
    other = [scale_factor(replace(config, seed=1), step) for step in range(50)]
    assert other != [scale_factor(config, step) for step in range(50)]


def engine_for(config: FinetuningConfig, seed: int = 0, num_micro_batches: int = 1) -> PlainEngine[FinetuningLoss]:
    return PlainEngine(FinetuningLoss(random_autoencoder(SMALL, seed), config), config, num_micro_batches)


def run(config: FinetuningConfig, engine: PlainEngine[FinetuningLoss], micro_batch_size: int = 4) -> list[CurveRow]:
    return finetune(config, TRAIN, engine, LoopPlan(config.steps, micro_batch_size, 1, frozenset()))


@pytest.mark.parametrize("equivariance", [True, False])
def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(equivariance: bool, tmp_path: Path) -> None:
    config = replace(CONFIG, scale_equivariance=equivariance)
    plan, whole = LoopPlan(config.steps, 4, 2, frozenset({3})), engine_for(config)
    recorder = Recorder(whole, tmp_path)
    curve = finetune(config, TRAIN, whole, plan, recorder)
    resumed = engine_for(config, seed=5)
    resumed.load(read_folder(tmp_path / "3"), num_steps=3)
    rest = finetune(config, TRAIN, resumed, plan, start_step=3, curve=recorder.saved[3])
    assert rest == curve
    assert ("downscaled" in curve[0]) == equivariance
    for kind in STATE_KINDS:
        for (name, a), (_, b) in zip(whole.tensors(kind), resumed.tensors(kind), strict=True):
            assert torch.equal(a, b), f"{kind} {name}"


def test_micro_batches_change_nothing_but_rounding() -> None:
    whole, split = run(CONFIG, engine_for(CONFIG)), run(CONFIG, engine_for(CONFIG, num_micro_batches=4), 1)
    for a, b in zip(whole, split, strict=True):
        assert b == pytest.approx(a, rel=1e-4)


def test_the_average_without_decay_is_the_weights() -> None:
    engine = engine_for(CONFIG)
    run(replace(CONFIG, steps=2), engine)
    for (_, weight), (_, average) in zip(engine.tensors("weight"), engine.tensors("ema"), strict=True):
        assert torch.equal(weight, average)


def test_activations_computed_anew_change_no_number() -> None:
    config, engine = replace(CONFIG, steps=2), engine_for(CONFIG)
    engine.model.use_activation_checkpointing()
    assert run(config, engine) == run(config, engine_for(CONFIG))


def test_a_video_autoencoder_is_trained_too(tmp_path: Path) -> None:
    config = replace(CONFIG, steps=2, batch_size=1, scale_factors=(2,), learning_rate=1e-4)
    autoencoder = load_autoencoder("cogvideox", save_cogvideox(tmp_path))
    pixels = torch.randint(256, (1, 3, 9, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    clip = ImageDataset(pixels, torch.zeros(1, dtype=torch.int64))
    engine = PlainEngine(FinetuningLoss(autoencoder, config), config)  # type: ignore[arg-type]  # of diffusers
    first, second = finetune(config, clip, engine, LoopPlan(2, 1, 1, frozenset()))
    assert second["loss"] < first["loss"]
    assert first["downscaled"] > 0


def test_on_fashion_mnist_smaller_latents_become_smaller_images() -> None:
    config = replace(CONFIG, steps=100, batch_size=8, warmup_steps=10)
    held_out = load_dataset("fashion_mnist", "reference").images(slice(0, 100))
    found = {}
    for equivariance in (False, True):
        own = replace(config, scale_equivariance=equivariance)
        autoencoder = random_autoencoder(KlArchitecture(widths=(8, 16, 16), norm_groups=4), 0)
        engine = PlainEngine(FinetuningLoss(autoencoder, own), own)
        run(own, engine, 8)
        found[equivariance] = measure_autoencoder(autoencoder, [in_colour(held_out)], (2, 4), "mean")
    plain, equivariant = found[False], found[True]
    assert equivariant["downscaled_x2_l1"] < 0.85 * plain["downscaled_x2_l1"]
    assert equivariant["downscaled_x4_l1"] < 0.8 * plain["downscaled_x4_l1"]
    assert equivariant["latent_high_share"] < plain["latent_high_share"]
    assert equivariant["reconstruction_l1"] < 1.1 * plain["reconstruction_l1"]
