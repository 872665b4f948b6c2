"""The kinds of autoencoders, and the shapes that planning needs before one is loaded. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AutoencoderCard:
    """Shapes, as the paper uses them (5.6 in the method's reference)."""

    channels: int
    """Channels of a latent."""
    spatial_factor: int
    """Pixels of a side for each position of a latent's."""
    temporal_factor: int | None = None
    """Factor of a causal video autoencoder: F frames become 1 + (F - 1) / factor. None: images only."""
    needs_files: bool = True
    keeps_frames: bool = False
    """Takes images and videos alike, and leaves frames as they are."""

    def latent_side(self, pixels: int) -> int:
        """Raises: ValueError if the side is no multiple of the factor."""
        if pixels < 1 or pixels % self.spatial_factor:
            raise ValueError(f"a side of {pixels} pixels is no multiple of {self.spatial_factor}")
        return pixels // self.spatial_factor

    def latent_frames(self, frames: int | None) -> int | None:
        """None stays None. Raises: ValueError for a video of another length than 1 + k * factor, or no video at all."""
        if self.keeps_frames:
            return frames
        if self.temporal_factor is None:
            if frames is not None:
                raise ValueError(f"{frames} frames, but this autoencoder is for images")
            return None
        if frames is None or frames < 1 or (frames - 1) % self.temporal_factor:
            given = "images" if frames is None else f"{frames} frames"
            raise ValueError(f"{given}, but needed are videos of 1 + k * {self.temporal_factor} frames")
        return 1 + (frames - 1) // self.temporal_factor

    def can_decode(self, latent_frames: int | None) -> bool:
        """diffusers makes 4t frames of an even number t of latent frames, where 1 + 4 (t - 1) were encoded."""
        return latent_frames is None or self.keeps_frames or latent_frames % 2 == 1

    def shape_of_latent(self, pixels: tuple[int, ...]) -> tuple[int, ...]:
        """Return (C, h, w) for pixels (H, W), (C, t, h, w) for (T, H, W). Raises: ValueError if they do not fit."""
        *frames, height, width = pixels
        number = self.latent_frames(frames[0] if frames else None)
        sides = (self.latent_side(height), self.latent_side(width))
        return (self.channels, *sides) if number is None else (self.channels, number, *sides)


AUTOENCODERS: dict[str, AutoencoderCard] = {
    "pixels": AutoencoderCard(channels=3, spatial_factor=1, needs_files=False, keeps_frames=True),
    "flux": AutoencoderCard(channels=16, spatial_factor=8),
    "cogvideox": AutoencoderCard(channels=16, spatial_factor=8, temporal_factor=4),
}
"""`flux`: diffusers' `AutoencoderKL`; `cogvideox`: `AutoencoderKLCogVideoX`. Files of other shapes are refused."""

ANY_KL = "kl"
"""An `AutoencoderKL` of any size, whose card its files give."""

AUTOENCODER_KINDS = (*AUTOENCODERS, ANY_KL)


def autoencoder_card(kind: str, settings: Mapping[str, Any] | None = None) -> AutoencoderCard:
    """Args: kind: one of `AUTOENCODER_KINDS`. settings: the content of `config.json`, which only `kl` needs.

    Raises: ValueError if that is needed and does not say it.
    """
    if kind != ANY_KL:
        return AUTOENCODERS[kind]
    if settings is None:
        raise ValueError(f"{kind}: its shapes are in its config.json, which was not given")
    return card_from_settings(settings)


def card_from_settings(settings: Mapping[str, Any]) -> AutoencoderCard:
    """Return the card of a network of diffusers, which halves after every block but the last.

    Raises: ValueError if they do not say it.
    """
    try:
        channels, blocks = settings["latent_channels"], settings["block_out_channels"]
    except KeyError as missing:
        raise ValueError(f"the settings of the autoencoder have no {missing}") from None
    frames = settings.get("temporal_compression_ratio")
    if type(channels) is not int or channels < 1 or not isinstance(blocks, list | tuple) or not blocks:
        raise ValueError(f"latent_channels {channels!r} and block_out_channels {blocks!r} give no latents")
    return AutoencoderCard(channels, 2 ** (len(blocks) - 1), None if frames is None else int(frames))
