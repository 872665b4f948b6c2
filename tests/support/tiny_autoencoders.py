"""Tiny randomly initialised versions of the real classes, saved as diffusers saves the real ones."""

from __future__ import annotations

from pathlib import Path

import torch

FLUX_SCALE, FLUX_SHIFT = 0.3611, 0.1159
WIDTHS = (4, 4, 4, 8)


def save_flux(folder: Path, **settings: object) -> Path:
    from diffusers import AutoencoderKL

    known = {
        "down_block_types": ("DownEncoderBlock2D",) * len(WIDTHS),
        "up_block_types": ("UpDecoderBlock2D",) * len(WIDTHS),
        "block_out_channels": WIDTHS,
        "layers_per_block": 1,
        "latent_channels": 16,
        "norm_num_groups": 2,
        "scaling_factor": FLUX_SCALE,
        "shift_factor": FLUX_SHIFT,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKL(**{**known, **settings}).save_pretrained(folder)
    return folder


def save_cogvideox(folder: Path, **settings: object) -> Path:
    from diffusers import AutoencoderKLCogVideoX

    known = {"block_out_channels": WIDTHS, "layers_per_block": 1, "latent_channels": 16, "norm_num_groups": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoencoderKLCogVideoX(**{**known, **settings}).save_pretrained(folder)
    return folder


def save_kl(folder: Path, **settings: object) -> Path:
    """Two halvings and 4 channels."""
    sizes: dict[str, object] = {
        "block_out_channels": (4, 4, 8),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "latent_channels": 4,
    }
    return save_flux(folder, **{**sizes, **settings})


def save_pixels(folder: Path) -> Path:
    return folder


SAVERS = {"pixels": save_pixels, "flux": save_flux, "cogvideox": save_cogvideox, "kl": save_kl}
