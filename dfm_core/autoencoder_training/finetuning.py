"""Training an autoencoder, with scale equivariance or without: the loss, and what a step does (numerics 9)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dfm_core.autoencoder_training.config import FinetuningConfig
from dfm_core.autoencoder_training.downscaling import downscale_both
from dfm_core.autoencoders.base import Posterior
from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.data.training_data import TrainingData
from dfm_core.seeding import normal, sample_generator
from dfm_core.training.curve import CurveRow
from dfm_core.training.engine import TrainingEngine
from dfm_core.training.steps import LoopPlan, Observer, Work, run_steps

_TERMS = ("loss", "reconstruction", "kl", "downscaled")


class FinetuningLoss(nn.Module):
    """An autoencoder's network whose forward pass is the loss: engines gather weights around forward passes."""

    def __init__(self, autoencoder: DiffusersAutoencoder, config: FinetuningConfig) -> None:
        super().__init__()
        self.autoencoder, self.config = autoencoder, config
        self.network = autoencoder.network.train()

    def use_activation_checkpointing(self) -> None:
        """Compute activations anew in the backward pass: less memory, more time, the same numbers."""
        self.network.enable_gradient_checkpointing()

    def forward(self, pixels: Tensor, noise: Tensor, factor: int | None) -> Tensor:
        """L = rec(x, Dec(z)) + w_KL KL + lambda rec(down(x), Dec(down(z))), gradients through decoder and encoder.

        Args: pixels: x, [B, 3, H, W] or [B, 3, T, H, W] in [-1, 1]. noise: standard normal, shape of the latents.
            factor: of `down`; None leaves the last term out.
        Returns: mean loss, reconstruction, KL and, with a factor, the last reconstruction, [3] or [4] float32.
        """
        config = self.config
        with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
            posterior = self.autoencoder.encode(pixels)
            assert posterior.std is not None, "what is trained has a posterior"
            latents = posterior.mean + posterior.std * noise
            terms = [self._error(pixels, self.autoencoder.decode(latents)), self._divergence(posterior)]
            if factor is not None:
                small_pixels, small_latents = downscale_both(pixels, latents, factor, config.downscaling)
                terms.append(self._error(small_pixels, self.autoencoder.decode(small_latents)))
        weights = torch.tensor([1.0, config.kl_weight, config.equivariance_weight], device=pixels.device)
        parts = torch.stack(terms)
        return torch.cat([(weights[: len(terms)] * parts).sum()[None], parts])

    def _error(self, wanted: Tensor, found: Tensor) -> Tensor:
        difference = found.float() - wanted
        return self.config.l1_weight * difference.abs().mean() + self.config.l2_weight * difference.square().mean()

    def _divergence(self, posterior: Posterior) -> Tensor:
        """KL(posterior, N(0, 1)) of the network's own latents, before scale and shift; mean over elements."""
        assert posterior.std is not None, "as above"
        scale, shift = self.autoencoder.scale, self.autoencoder.shift
        mean, std = posterior.mean.float() / scale + shift, posterior.std.float() / scale
        return 0.5 * (mean.square() + std.square() - 1.0 - 2.0 * std.log()).mean()


class _FinetuningWork(Work[tuple[Tensor, Tensor, int | None]]):
    """The loss of a fine-tuning."""

    def __init__(self, config: FinetuningConfig, engine: TrainingEngine[FinetuningLoss]) -> None:
        super().__init__()
        self._config, self._engine = config, engine

    def prepare(self, samples: range, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, int | None]:  # noqa: ARG002  classes are not read
        config, card = self._config, self._engine.model.autoencoder.card
        pixels = in_colour(images)
        noise = normal(config.seed, "finetuning_posterior", samples, card.shape_of_latent(tuple(pixels.shape[2:])))
        factor = scale_factor(config, samples.start // config.batch_size)
        if self._engine.device.type == "cuda":
            pixels, noise = pixels.pin_memory(), noise.pin_memory()
        return pixels, noise, factor

    def loss(self, inputs: tuple[Tensor, Tensor, int | None]) -> Tensor:
        (pixels, noise, factor), device = inputs, self._engine.device
        terms: Tensor = self._engine.model(
            pixels.to(device, non_blocking=True), noise.to(device, non_blocking=True), factor
        )
        self.add(terms)
        return terms[0]

    def row(self, *, is_saved: bool) -> CurveRow:  # noqa: ARG002
        return {name: float(mean) for name, mean in zip(_TERMS, self.means(self._engine), strict=False)}


def in_colour(pixels: Tensor) -> Tensor:
    """Grey pixels, [B, 1, ...], repeated to three channels; [B, 3, ...] as they are."""
    return pixels.expand(-1, 3, *pixels.shape[2:]) if pixels.shape[1] == 1 else pixels


def scale_factor(config: FinetuningConfig, step: int) -> int | None:
    """Return the factor of a step, the same for all its samples; None without scale equivariance."""
    if not config.scale_equivariance:
        return None
    drawn = sample_generator(config.seed, "finetuning_scale_factor", step).integers(len(config.scale_factors))
    return config.scale_factors[int(drawn)]


def finetune(
    config: FinetuningConfig,
    data: TrainingData,
    engine: TrainingEngine[FinetuningLoss],
    plan: LoopPlan,
    observer: Observer | None = None,
    *,
    start_step: int = 0,
    curve: list[CurveRow] | None = None,
) -> list[CurveRow]:
    """Trains an autoencoder from `start_step` to `plan.until_step`; arguments and errors are those of `run_steps`.

    A row of the curve also has `reconstruction`, `kl` and, with scale equivariance, `downscaled`, all unweighted.

    Args: data: pixels in [-1, 1]; grey ones are repeated.
    """
    work = _FinetuningWork(config, engine)
    return run_steps(work, data, config.seed, config, engine, plan, observer, start_step=start_step, curve=curve)
