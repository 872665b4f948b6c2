"""Loaders of autoencoders, by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dfm_core.autoencoders.base import Autoencoder
from dfm_core.autoencoders.diffusers_vae import load_cogvideox, load_flux, load_kl
from dfm_core.autoencoders.pixels import Pixels
from dfm_core.catalog.autoencoders import AUTOENCODER_KINDS

LOADERS: dict[str, Callable[[Path], Autoencoder]] = {
    "pixels": lambda _: Pixels(),
    "flux": load_flux,
    "cogvideox": load_cogvideox,
    "kl": load_kl,
}
"""Name -> loader that reads a folder with its files."""
assert set(LOADERS) == set(AUTOENCODER_KINDS), "every autoencoder has a card and a loader"


def load_autoencoder(name: str, folder: Path) -> Autoencoder:
    """Args: folder: with `config.json` and weights as diffusers saves them; of pixels nothing is read.

    Raises: ValueError naming what is missing or wrong, on the CPU, without any network.
    """
    return LOADERS[name](folder)
