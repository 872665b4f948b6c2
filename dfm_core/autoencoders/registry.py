"""Loaders of autoencoders, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.autoencoders.diffusers_vae import load_diffusers
from dfm_core.autoencoders.pixels import Pixels
from dfm_core.catalog.autoencoders import ANY_KL, AUTOENCODER_KINDS

LOADERS: dict[str, Callable[[Path], Autoencoder]] = {
    "pixels": lambda _: Pixels(),
    "flux": partial(load_diffusers, "flux", "AutoencoderKL"),
    "cogvideox": partial(load_diffusers, "cogvideox", "AutoencoderKLCogVideoX"),
    "kl": partial(load_diffusers, ANY_KL, "AutoencoderKL"),
}
"""Name -> loader that reads a folder with its files. FLUX's has 16 channels, 8x; CogVideoX's also 4x in time; `kl` is
of any size, such as a small one that was trained here."""
assert set(LOADERS) == set(AUTOENCODER_KINDS), "every autoencoder has a card and a loader"


def load_autoencoder(name: str, folder: Path) -> Autoencoder:
    """Args: folder: with `config.json` and weights as diffusers saves them; of pixels nothing is read.

    Raises: ValueError naming what is missing or wrong, on the CPU, without any network.
    """
    return LOADERS[name](folder)
