"""What scale equivariance did to an autoencoder, on held-out real samples."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.autoencoders.finetuning import in_colour
from dfm_core.autoencoders.measures import measure_autoencoder
from dfm_core.metrics.features.lite0 import load_lite0_network
from orchestration.real_samples import RealSamples

MEASURED_FACTORS = (2, 3, 4)
"""By which latents are made smaller when the effect is measured, whatever was trained; those that divide their side."""
MEASURED_SAMPLES = 2000
"""Held-out real samples, or all of fewer."""
_BATCH_PIXELS, _MOST_BATCH = 2**21, 50
"""Of samples that are measured at once: 32 images of side 256, one clip of 17 frames of side 512."""


def measured_effect(autoencoder: DiffusersAutoencoder, real: RealSamples, device: torch.device) -> dict[str, float]:
    """`measure_autoencoder` on held-out samples; the autoencoder is moved to the device."""
    autoencoder.network.to(device).eval()
    side = autoencoder.card.latent_side(real.read(range(1))[0].shape[-1])
    factors = [factor for factor in MEASURED_FACTORS if side % factor == 0]
    network = load_lite0_network({}).to(device)
    return measure_autoencoder(autoencoder, _pixels(real), factors, "mean", network, device)


def _pixels(real: RealSamples) -> Iterator[Tensor]:
    count = min(real.count, MEASURED_SAMPLES)
    sample_pixels = real.read(range(1))[0][0, 0].numel()
    size = max(1, min(_MOST_BATCH, _BATCH_PIXELS // sample_pixels))
    for begin in range(0, count, size):
        pixels, _ = real.read(range(begin, min(begin + size, count)))
        yield in_colour(pixels.float() / 127.5 - 1.0)
