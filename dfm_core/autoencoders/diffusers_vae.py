"""FLUX's and CogVideoX's autoencoders: diffusers' classes behind the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfm_core.autoencoders.base import Posterior, check_pixels_fit
from dfm_core.autoencoders.cards import AUTOENCODERS, AutoencoderCard
from dfm_core.autoencoders.files import identity_of, load_weights, read_config


class DiffusersAutoencoder:
    """`Autoencoder` around a network of diffusers. Gradients flow through both ways, for fine-tuning."""

    def __init__(self, card: AutoencoderCard, network: Any, identity: str) -> None:
        """Raises: ValueError if the network makes other latents than the card says."""
        self.card, self.network, self.identity = card, network, identity
        settings = network.config
        self.scale, self.shift = float(settings.scaling_factor), float(settings.shift_factor or 0.0)
        own = AutoencoderCard(
            channels=settings.latent_channels,
            spatial_factor=2 ** (len(settings.block_out_channels) - 1),
            temporal_factor=None if card.temporal_factor is None else int(settings.temporal_compression_ratio),
        )
        if own != card:
            raise ValueError(f"{identity}: makes other latents ({own}) than needed ({card})")
        if not self.scale > 0.0:
            raise ValueError(f"{identity}: its scaling_factor is {self.scale}, not above 0")

    def encode(self, pixels: Tensor) -> Posterior:
        check_pixels_fit(self.card, pixels)
        posterior = self.network.encode(pixels).latent_dist
        return Posterior((posterior.mean - self.shift) * self.scale, posterior.std * self.scale)

    def decode(self, latents: Tensor) -> Tensor:
        pixels: Tensor = self.network.decode(latents / self.scale + self.shift).sample
        return pixels


def load_flux(folder: Path) -> DiffusersAutoencoder:
    """16 channels, 8x; z' = 0.3611 (z - 0.1159) with the original's settings. Raises: ValueError."""
    from diffusers import AutoencoderKL

    return _loaded("flux", AutoencoderKL, folder)


def load_cogvideox(folder: Path) -> DiffusersAutoencoder:
    """16 channels, 8x in space, 4x in time; scaled by 1.15258426 (2B) or 0.7 (5B). Raises: ValueError."""
    from diffusers import AutoencoderKLCogVideoX

    return _loaded("cogvideox", AutoencoderKLCogVideoX, folder)


def _loaded(kind: str, network_class: Any, folder: Path) -> DiffusersAutoencoder:
    config = read_config(folder, network_class.__name__)
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights, which are replaced, must not move the global state
            network: nn.Module = network_class.from_config(dict(config))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: its settings make no {network_class.__name__} ({error})") from None
    load_weights(network, folder)
    return DiffusersAutoencoder(AUTOENCODERS[kind], network.eval(), identity_of(kind, folder))
