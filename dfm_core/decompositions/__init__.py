"""Decompositions by name. Adding one: a file here and a line in `DECOMPOSITIONS`."""

from __future__ import annotations

from collections.abc import Callable

from dfm_core.config import DecompositionConfig, DecompositionName
from dfm_core.decompositions.base import Decomposition
from dfm_core.decompositions.identity import Identity
from dfm_core.decompositions.laplacian import LaplacianPyramid

DECOMPOSITIONS: dict[DecompositionName, Callable[[tuple[int, ...]], Decomposition]] = {
    "identity": Identity,
    "laplacian": LaplacianPyramid,
}


def build_decomposition(config: DecompositionConfig) -> Decomposition:
    """The decomposition that a config names."""
    return DECOMPOSITIONS[config.name](config.resolutions)
