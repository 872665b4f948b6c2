"""FLUX's, CogVideoX's and smaller autoencoders: diffusers' classes behind the contract."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfm_core.autoencoders.base import Posterior, check_pixels_fit
from dfm_core.autoencoders.files import load_weights, read_config
from dfm_core.autoencoders.identity import identity_of
from dfm_core.catalog.autoencoders import ANY_KL, AUTOENCODERS, AutoencoderCard, card_from_settings
from dfm_core.config.data import IN_BF16

_COLOURS = 3


class DiffusersAutoencoder:
    """`Autoencoder` around a network of diffusers. Gradients flow through both ways, for fine-tuning."""

    def __init__(self, kind: str, network: Any, identity: str) -> None:
        """Raises: ValueError if the network makes other latents than its kind, or of other pixels than colours."""
        settings = network.config
        self.network, self.identity, self._mixed = network, identity, False
        self.card: AutoencoderCard = card_from_settings(settings)
        self.scale, self.shift = float(settings.scaling_factor), float(settings.shift_factor or 0.0)
        wanted = self.card if kind == ANY_KL else AUTOENCODERS[kind]
        if self.card != wanted:
            raise ValueError(f"{identity}: makes other latents ({self.card}) than needed ({wanted})")
        if not self.scale > 0.0:
            raise ValueError(f"{identity}: its scaling_factor is {self.scale}, not above 0")
        if (settings.in_channels, settings.out_channels) != (_COLOURS, _COLOURS):
            sizes = f"{settings.in_channels} and makes {settings.out_channels}"
            raise ValueError(f"{identity}: takes pixels of {sizes} channels, needed are {_COLOURS}; repeat grey ones")

    def use_bf16(self) -> None:
        """Encode and decode under bf16 autocast, which is part of its identity; weights and results stay fp32."""
        self._mixed = True
        self.identity += IN_BF16

    def encode(self, pixels: Tensor) -> Posterior:
        check_pixels_fit(self.card, pixels)
        with self._precision(pixels):
            posterior = self.network.encode(pixels).latent_dist
        mean, std = posterior.mean, posterior.std
        if self._mixed:
            mean, std = mean.float(), std.float()
        return Posterior((mean - self.shift) * self.scale, std * self.scale)

    def decode(self, latents: Tensor) -> Tensor:
        if self.card.temporal_factor is not None and not self.card.can_decode(latents.shape[2]):
            raise ValueError(
                f"{latents.shape[2]} latent frames: diffusers decodes odd numbers of them alone as they were"
            )
        with self._precision(latents):
            pixels: Tensor = self.network.decode(latents / self.scale + self.shift).sample
        return pixels.float() if self._mixed else pixels

    def _precision(self, data: Tensor) -> AbstractContextManager[None]:
        # Without bf16 nothing is set: a training's own autocast stays in force.
        return torch.autocast(data.device.type, torch.bfloat16) if self._mixed else nullcontext()


def load_diffusers(kind: str, class_name: str, folder: Path) -> DiffusersAutoencoder:
    """Return the autoencoder of a folder, of a kind that diffusers has under this class. Raises: ValueError."""
    network_class: Any = getattr(importlib.import_module("diffusers"), class_name)
    config = read_config(folder, class_name)
    try:
        with torch.random.fork_rng(devices=[]):  # initial weights, which are replaced, must not move the global state
            network: nn.Module = network_class.from_config(dict(config))
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"{folder}: its settings make no {class_name} ({error})") from None
    load_weights(network, folder)
    return DiffusersAutoencoder(kind, network.eval(), identity_of(kind, folder))
