"""Autoencoders from random weights, measured to unit scale and written in diffusers' layout of files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from dfm_core.autoencoders.architecture import KlArchitecture
from dfm_core.autoencoders.base import Autoencoder
from dfm_core.autoencoders.diffusers_vae import DiffusersAutoencoder
from dfm_core.autoencoders.identity import CONFIG, WEIGHTS
from dfm_core.catalog.autoencoders import ANY_KL
from dfm_core.seeding import sample_generator


def random_autoencoder(architecture: KlArchitecture, seed: int) -> DiffusersAutoencoder:
    """Return an `AutoencoderKL` whose weights depend on the seed alone; scale 1, shift 0."""
    from diffusers import AutoencoderKL

    network_class: Any = AutoencoderKL
    draw = int(sample_generator(seed, "autoencoder_weights", 0).integers(2**63))
    with torch.random.fork_rng(devices=[]):  # diffusers' layers draw from the global generator
        torch.manual_seed(draw)
        network = network_class(**architecture.settings)
    return DiffusersAutoencoder(ANY_KL, network, f"{ANY_KL}:random:{draw:x}")


LatentScale = tuple[float, float]
"""(scale, shift): a latent is scale * (z - shift), z the network's own."""


def unit_scale(autoencoder: Autoencoder, batches: Iterable[Tensor]) -> LatentScale:
    """Return the scale that brings the latents of some pixels to mean 0 and standard deviation 1 over all elements.

    The deviation is that of draws from the posterior: the variance of means plus the mean variance.

    Args: batches: pixels, [B, 3, (T,) H, W] in [-1, 1], at least one; all weigh by their elements.
    """
    sums = torch.zeros(3, dtype=torch.float64)  # count, sum, sum of squares
    for pixels in batches:
        with torch.no_grad():
            posterior = autoencoder.encode(pixels)
        mean = posterior.mean.double() / autoencoder.scale + autoencoder.shift
        spread = 0.0 if posterior.std is None else (posterior.std.double() / autoencoder.scale).square().sum().cpu()
        sums += torch.tensor([mean.numel(), mean.sum().cpu(), mean.square().sum().cpu() + spread]).double()
    count, total, squares = sums.tolist()
    shift = total / count
    return (squares / count - shift**2) ** -0.5, shift


def write_autoencoder(
    autoencoder: DiffusersAutoencoder, weights: Mapping[str, Tensor], folder: Path, scale: LatentScale | None = None
) -> list[Path]:
    """`config.json` and weights, which `load_autoencoder` reads. Equal networks give equal bytes.

    Args: weights: by the network's own names. scale: instead of the autoencoder's own.
    Returns: the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in autoencoder.network.config.items() if not name.startswith("_")}
    settings: dict[str, Any] = {"_class_name": type(autoencoder.network).__name__, **kept}
    if scale is not None:
        settings["scaling_factor"], settings["shift_factor"] = scale
    (folder / CONFIG).write_text(json.dumps(settings, indent=2, sort_keys=True), encoding="utf-8")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / WEIGHTS)
    return [folder / CONFIG, folder / WEIGHTS]
