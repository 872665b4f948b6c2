"""What planning has to know of an autoencoder before it is loaded. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dfm_core.data.catalog import DataShape


@dataclass(frozen=True)
class AutoencoderCard:
    """Shapes, as the paper uses them (5.6 in the method's reference)."""

    channels: int
    """Of a latent."""
    spatial_factor: int
    """Pixels of a side for each position of a latent's."""
    temporal_factor: int | None = None
    """Of a causal video autoencoder: F frames become 1 + (F - 1) / factor. None: images only."""
    needs_files: bool = True

    def latent_side(self, pixels: int) -> int:
        """Raises: ValueError if the side is no multiple of the factor."""
        if pixels < 1 or pixels % self.spatial_factor:
            raise ValueError(f"a side of {pixels} pixels is no multiple of {self.spatial_factor}")
        return pixels // self.spatial_factor

    def latent_frames(self, frames: int | None) -> int | None:
        """None stays None. Raises: ValueError for a video of another length than 1 + k * factor, or no video at all."""
        if self.temporal_factor is None:
            if frames is not None:
                raise ValueError(f"{frames} frames, but this autoencoder is for images")
            return None
        if frames is None or frames < 1 or (frames - 1) % self.temporal_factor:
            given = "images" if frames is None else f"{frames} frames"
            raise ValueError(f"{given}, but needed are videos of 1 + k * {self.temporal_factor} frames")
        return 1 + (frames - 1) // self.temporal_factor

    def latent_shape(self, num_classes: int, frames: int | None) -> DataShape:
        return DataShape(self.channels, num_classes, self.latent_frames(frames))


AUTOENCODERS: dict[str, AutoencoderCard] = {
    "pixels": AutoencoderCard(channels=3, spatial_factor=1, needs_files=False),
    "flux": AutoencoderCard(channels=16, spatial_factor=8),
    "cogvideox": AutoencoderCard(channels=16, spatial_factor=8, temporal_factor=4),
}
"""`flux`: diffusers' `AutoencoderKL`; `cogvideox`: `AutoencoderKLCogVideoX`."""
