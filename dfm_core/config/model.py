"""Decomposition and network."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Interval, Len

from dfm_core.catalog.flux import FluxArchitecture
from dfm_core.config import choices


@dataclass(frozen=True)
class PyramidFitConfig:
    """Fit of the learned pyramid, a task of its own before any training on its scales."""

    width: choices.PositiveInt = 32
    """Channels of its hidden convolutions."""
    steps: choices.PositiveInt = 400
    """Optimiser steps."""
    batch_size: choices.PositiveInt = 32
    """Images of a step."""
    learning_rate: choices.PositiveFloat = 2e-3
    """Adam's."""
    coarse_weight: Annotated[float, Ge(0.0)] = 0.1
    """Weight of staying close to the mean over cells; keeps the coarse scale an image, and its variance from 0."""


@dataclass(frozen=True)
class DecompositionConfig:
    """The multi-scale representation (DFM, Eq. 2)."""

    name: choices.DecompositionName = "laplacian"
    """The way in which an image is split into scales (paper, section 3.1)."""
    resolutions: Annotated[tuple[choices.PositiveInt, ...], Len(1, 6)] = (16, 32)
    """Side of each scale, coarsest first, in cells of the model's input; the last is the data's side."""
    upsampling: choices.Upsampling = "direct"
    """laplacian, ratio 4 and more: one bilinear resize, or one after the other by 2 (numerics 2.1)."""
    held_at: choices.HeldAt = "own"
    """laplacian: `full` holds both of two scales at the data's size, the coarse one upsampled before noise is added to
    it, as a pretrained network of one patch size needs (paper, appendix E.1; numerics 2.8)."""
    wavelet: choices.WaveletFamily = "haar"
    """wavelet: the orthonormal family."""
    block_size: Literal[4, 8] = 8
    """cosine: side of the blocks."""
    domain: choices.Domain = "spatial"
    """cosine: feed each band as an image (paper, appendix F) or as raw coefficients, one channel a frequency."""
    fit: PyramidFitConfig = field(default_factory=PyramidFitConfig)
    """learned: how its weights are made."""

    @property
    def sides(self) -> tuple[int, ...]:
        """Side of each scale's tensor, [S]: its resolution, or in the frequency domain the number of blocks; where
        scales are held at full size, the data's."""
        return tuple(height for height, _ in self.scale_sizes(self.resolutions[-1], self.resolutions[-1]))

    def scale_sizes(self, height: int, width: int) -> tuple[tuple[int, int], ...]:
        """Return height and width of each scale's tensor for data of a size, [S]."""
        finest = self.resolutions[-1]
        if self.held_at == "full":
            return ((height, width),) * len(self.resolutions)
        if self.name == "cosine" and self.domain == "frequency":
            return ((height // self.block_size, width // self.block_size),) * len(self.resolutions)
        return tuple((height * side // finest, width * side // finest) for side in self.resolutions)

    def channels(self, data_channels: int) -> tuple[int, ...]:
        """Channels of each scale's tensor, [S]: the data's, times the band's coefficients in the frequency domain."""
        if self.name == "cosine" and self.domain == "frequency":
            kept = [0, *(side * self.block_size // self.resolutions[-1] for side in self.resolutions)]
            return tuple(data_channels * (high**2 - low**2) for low, high in pairwise(kept))
        return (data_channels,) * len(self.resolutions)


DECOMPOSITION_SETTINGS: dict[choices.DecompositionName, tuple[str, ...]] = {
    "identity": (),
    "levels": (),
    "laplacian": ("upsampling", "held_at"),
    "wavelet": ("wavelet",),
    "cosine": ("block_size", "domain"),
    "fourier": (),
    "learned": ("fit",),
}
"""The settings that each decomposition reads beside its resolutions; the others change nothing and enter no digest."""
assert set(DECOMPOSITION_SETTINGS) == set(get_args(choices.DecompositionName)), "every decomposition says what it reads"


@dataclass(frozen=True)
class BackboneDescription:
    """A pretrained network, as planning knows it: a field for the architecture of each kind."""

    identity: str
    """Identity of its weights: a digest of the user's files, or the training that makes them."""
    flux: FluxArchitecture

    @property
    def architecture(self) -> FluxArchitecture:
        return self.flux


@dataclass(frozen=True)
class ModelConfig:
    """The diffusion transformer."""

    size: choices.ModelSize = "micro"
    """A row of `MODEL_SIZES`."""
    patch_sizes: Annotated[tuple[choices.PositiveInt, ...], Len(1, 6)] = (2, 4)
    """Patch side of each scale."""
    patch_grid: choices.PatchGrid = "shared"
    """`shared`: every scale gives the same number of tokens. `per_stage`: a stage has the tokens of its own scale, and
    earlier scales are spread over that finer grid, so that early stages are cheap (Table 1e; numerics 5.6)."""
    backbone: choices.Backbone = "dit"
    """`tokenformer`: the blocks' linear maps are attention over parameter tokens, some of them a stage's own. `flux`:
    FLUX, whose labels are captions; it starts from `start`, and `size` means nothing to it."""
    start: str = ""
    """flux: a name under the sweep's `backbones:`, whose architecture and weights it starts from."""
    guidance_input: Annotated[float, Interval(ge=0.0, le=100.0)] = 1.0
    """flux: guidance weight that its distilled network is told, in training and sampling; not classifier-free guidance,
    which is `sampling.guidance`."""
    specialization: choices.Specialization = "none"
    """Weights that have a version per stage, averaged with the common one (Table 1d; numerics 6)."""
    lora_rank: Annotated[int, Interval(ge=0, le=4096)] = 0
    """Rank of a low-rank addition per stage to every linear map of the blocks; 0 is none."""
    lora_alpha: choices.Factor = 16.0
    """The addition is scaled by alpha / rank."""
    preconditioning: choices.Preconditioning = "edm"
    """`edm`: c_in, c_skip, c_out of EDM carried to flow matching; `no_skip`: c_skip = 0; `none`: raw network."""
    input_masking: bool = True
    """Feed zeros for scales that are not generated yet (False is the paper's "- masking" ablation)."""
    positions: choices.Positions = "rope"
    """`rope`: rotary embedding over the token grid; `sincos`: the fixed additive table of the original DiT."""
    stage_embedding: bool = True
    """Add an embedding of the active stage to the conditioning vector."""
    timestep_scale: choices.Factor = 1000.0
    """Factor on t in [0, 1] before the sin-cos features."""
    described: BackboneDescription | None = None
    """The network that `start` names; found when a sweep is read, never given."""


@dataclass(frozen=True)
class ModelSizeSpec:
    """Dimensions of a diffusion transformer (numerics 5.2; `nano` and `micro` are ours, for CPUs)."""

    depth: int
    width: int
    heads: int


MODEL_SIZES: dict[choices.ModelSize, ModelSizeSpec] = {
    "nano": ModelSizeSpec(depth=2, width=32, heads=2),
    "micro": ModelSizeSpec(depth=3, width=128, heads=4),
    "S": ModelSizeSpec(depth=12, width=384, heads=6),
    "B": ModelSizeSpec(depth=12, width=768, heads=12),
    "L": ModelSizeSpec(depth=24, width=1024, heads=16),
    "XL": ModelSizeSpec(depth=28, width=1152, heads=16),
}
assert set(MODEL_SIZES) == set(get_args(choices.ModelSize)), "MODEL_SIZES and ModelSize name the same sizes"
