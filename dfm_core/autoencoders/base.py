"""The contract of autoencoders, and what an encoding keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.seeding import normal

MEAN, STD = "mean", "std"


@dataclass(frozen=True)
class Posterior:
    """A Gaussian for each position of a latent, scaled and shifted as models see it."""

    mean: Tensor
    """[B, C, h, w] or [B, C, t, h, w]."""
    std: Tensor | None
    """Same shape; None: there is no spread."""

    def stored(self) -> dict[str, Tensor]:
        """Return the tensors to store: mean and standard deviation in bf16; without a spread the mean in fp16."""
        if self.std is None:
            return {MEAN: self.mean.to(torch.float16)}
        return {MEAN: self.mean.to(torch.bfloat16), STD: self.std.to(torch.bfloat16)}


class Autoencoder(Protocol):
    """Pixels to latents and back."""

    card: AutoencoderCard
    identity: str
    """Digest of kind, settings and weights; part of the digest of everything that is encoded."""
    scale: float
    """A latent is scale * (z - shift), z the network's own."""
    shift: float

    def encode(self, pixels: Tensor) -> Posterior:
        """Args: pixels: [B, 3, H, W] or, of a video autoencoder, [B, 3, T, H, W], in [-1, 1].

        Raises: ValueError for sides or frames that it cannot halve as often as it has to.
        """

    def decode(self, latents: Tensor) -> Tensor:
        """Args: latents: as `encode` gives them. Returns: pixels, about [-1, 1]."""


def draw(stored: Mapping[str, Tensor], seed: int, indices: Sequence[int]) -> Tensor:
    """Draw a latent from its stored posterior, anew whenever its sample is drawn.

    Args: stored: `Posterior.stored`. indices: global sample indices, [B]. Returns: float32, shape of the mean.
    """
    mean = stored[MEAN].float()
    if STD not in stored:
        return mean
    return mean + stored[STD].float() * normal(seed, "posterior", indices, tuple(mean.shape[1:])).to(mean.device)


def check_pixels_fit(card: AutoencoderCard, pixels: Tensor) -> None:
    """Raises: ValueError for pixels that this autoencoder cannot encode."""
    axes = {4: "[B, 3, H, W]", 5: "[B, 3, T, H, W]"}  # by number of dimensions
    if not card.keeps_frames:
        del axes[5 if card.temporal_factor is None else 4]
    if pixels.ndim not in axes or pixels.shape[1] != 3 or not pixels.is_floating_point():
        wanted = " or ".join(axes.values())
        raise ValueError(f"pixels are floats {wanted}, got {pixels.dtype} of shape {list(pixels.shape)}")
    for side in pixels.shape[-2:]:
        card.latent_side(side)
    card.latent_frames(pixels.shape[2] if pixels.ndim == 5 else None)
