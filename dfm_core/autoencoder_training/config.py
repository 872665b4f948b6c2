"""Settings of the training of an autoencoder. Needs no torch: planning reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Interval, Len

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.config.choices import DecayRate, NonNegativeInt, PositiveFloat, PositiveInt
from dfm_core.config.training import OptimizerSettings

Downscaling = Literal["mean", "bilinear"]
Weight = Annotated[float, Ge(0.0)]


@dataclass(frozen=True)
class FinetuningConfig(OptimizerSettings):
    """Fine-tuning for scale equivariance (paper, 4.1 and appendix D; numerics 9). All of it is part of the digest."""

    scale_equivariance: bool = True
    """False: the same steps on the same samples without the regularization, as a control."""
    scale_factors: Annotated[tuple[Annotated[int, Interval(ge=2, le=64)], ...], Len(1, 8)] = (2, 4)
    """Factors by which pixels and latents are made smaller; each step draws one."""
    downscaling: Downscaling = "mean"
    """`mean`: over square cells; `bilinear`: with corners aligned, any factor."""
    equivariance_weight: Weight = 0.25
    """Weight of the reconstruction of the smaller pixels from the smaller latent (numerics A26)."""
    l1_weight: Weight = 1.0
    """Weight of the mean absolute error, in both reconstructions."""
    l2_weight: Weight = 0.0
    """Weight of the mean squared error, in both reconstructions."""
    kl_weight: Weight = 1e-6
    """Weight of the posterior's divergence from the standard normal, a mean over the latent's elements."""
    steps: PositiveInt = 10_000
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-5
    warmup_steps: NonNegativeInt = 0
    weight_decay: Weight = 0.0
    ema_decay: DecayRate = 0.0
    """Decay of the weights' average, which is the result; 0: the last weights themselves."""
    seed: NonNegativeInt = 0
    """Seed of weights, batches and draws."""


def finetuning_problems(
    config: FinetuningConfig, card: AutoencoderCard, side: int, frames: int | None
) -> Iterator[tuple[str, str]]:
    """(key, message) of what does not fit together, or the pixels, of this side and number of frames."""
    try:
        latent_side = card.latent_side(side)
        latent_frames = card.latent_frames(frames)
    except ValueError as error:
        yield "", str(error)
        return
    if not card.can_decode(latent_frames):
        yield "", f"{frames} frames become {latent_frames} of the latent, and only odd numbers of them can be decoded"
    if config.l1_weight + config.l2_weight == 0.0:
        yield "l1_weight", "is 0, and so is l2_weight: nothing is reconstructed"
    if not config.scale_equivariance:
        return
    for factor in config.scale_factors:
        if factor > latent_side:
            yield "scale_factors", f"{factor} leaves nothing of a latent of side {latent_side}"
        elif config.downscaling == "mean" and latent_side % factor:
            yield (
                "scale_factors",
                f"{factor} does not divide the latent's side {latent_side}; give downscaling: bilinear",
            )
