"""No autoencoder: pixels are what the model sees."""

from __future__ import annotations

from torch import Tensor

from dfm_core.autoencoders.base import Posterior, check_pixels_fit
from dfm_core.catalog.autoencoders import AUTOENCODERS


class Pixels:
    """`Autoencoder`: the identity."""

    card = AUTOENCODERS["pixels"]
    identity = "pixels"
    scale, shift = 1.0, 0.0

    def encode(self, pixels: Tensor) -> Posterior:
        check_pixels_fit(self.card, pixels)
        return Posterior(pixels, None)

    def decode(self, latents: Tensor) -> Tensor:
        return latents
