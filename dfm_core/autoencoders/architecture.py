"""The architecture of an autoencoder that is trained from random weights. Needs no torch: planning reads it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval, Len

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.config.choices import PositiveInt


@dataclass(frozen=True)
class KlArchitecture:
    """An `AutoencoderKL` of diffusers that is trained from random weights: for small sweeps."""

    latent_channels: Annotated[int, Interval(ge=1, le=256)] = 4
    """Channels of a latent."""
    widths: Annotated[tuple[PositiveInt, ...], Len(1, 8)] = (32, 64, 64)
    """Channels of each block; every one but the last halves the side."""
    layers_per_block: Annotated[int, Interval(ge=1, le=8)] = 1
    """Residual blocks at each resolution."""
    norm_groups: PositiveInt = 8
    """Groups of the group normalisation; divides every width."""

    @property
    def card(self) -> AutoencoderCard:
        return AutoencoderCard(self.latent_channels, 2 ** (len(self.widths) - 1))

    @property
    def settings(self) -> dict[str, Any]:
        """The content of `config.json`; scale and shift are measured after the training."""
        blocks = len(self.widths)
        return {
            "in_channels": 3,
            "out_channels": 3,
            "latent_channels": self.latent_channels,
            "block_out_channels": list(self.widths),
            "down_block_types": ["DownEncoderBlock2D"] * blocks,
            "up_block_types": ["UpDecoderBlock2D"] * blocks,
            "layers_per_block": self.layers_per_block,
            "norm_num_groups": self.norm_groups,
            "scaling_factor": 1.0,
            "shift_factor": 0.0,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
        }


def architecture_problems(architecture: KlArchitecture) -> Iterator[tuple[str, str]]:
    """(key, message) of what does not fit together."""
    for width in architecture.widths:
        if width % architecture.norm_groups:
            yield "norm_groups", f"{architecture.norm_groups} does not divide the width {width}"
