"""Decompositions by name. Adding one: a file here and a line in `DECOMPOSITIONS`.

Begin with `base.Decomposition`, the contract, and `laplacian`, the paper's. `learned` is fitted to data. May import
`config`, `data` and `seeding`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from dfm_core.config import DecompositionConfig
from dfm_core.config.choices import DecompositionName
from dfm_core.decompositions.base import Decomposition
from dfm_core.decompositions.cosine import CosineBands, CosinePyramid
from dfm_core.decompositions.fourier import FourierPyramid
from dfm_core.decompositions.identity import Identity
from dfm_core.decompositions.laplacian import HeldLaplacianPyramid, LaplacianPyramid
from dfm_core.decompositions.learned import load_pyramid
from dfm_core.decompositions.levels import Levels
from dfm_core.decompositions.wavelet import WaveletPyramid

__all__ = ["DECOMPOSITIONS", "Decomposition", "build_decomposition"]

Weights = Mapping[str, Tensor] | None
"""Weights of a decomposition that is fitted to data; None for all others."""


def _laplacian(config: DecompositionConfig, _: Weights) -> Decomposition:
    made = HeldLaplacianPyramid if config.held_at == "full" else LaplacianPyramid
    return made(config.resolutions, config.upsampling)


def _cosine(config: DecompositionConfig, _: Weights) -> Decomposition:
    made = CosineBands if config.domain == "frequency" else CosinePyramid
    return made(config.resolutions, config.block_size)


DECOMPOSITIONS: dict[DecompositionName, Callable[[DecompositionConfig, Weights], Decomposition]] = {
    "identity": lambda config, _: Identity(config.resolutions),
    "levels": lambda config, _: Levels(config.resolutions),
    "laplacian": _laplacian,
    "wavelet": lambda config, _: WaveletPyramid(config.resolutions, config.wavelet),
    "cosine": _cosine,
    "fourier": lambda config, _: FourierPyramid(config.resolutions),
    "learned": load_pyramid,
}


def build_decomposition(config: DecompositionConfig, weights: Weights = None) -> Decomposition:
    """Return the decomposition that a config names.

    Args: weights: of the learned pyramid, from `fit_pyramid`; the others have none.
    Raises: ValueError if its resolutions do not suit it, or its weights are missing.
    """
    return DECOMPOSITIONS[config.name](config, weights)
