"""A feature network by its name. Importing this needs torch alone; transformers is imported by what needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.weight_files import GivenFile
from dfm_core.metrics.features.base import FeatureNetwork
from dfm_core.metrics.features.clip import load_clip
from dfm_core.metrics.features.dinov2 import load_dinov2
from dfm_core.metrics.features.i3d import load_i3d
from dfm_core.metrics.features.inception import load_inception
from dfm_core.metrics.features.lite0 import load_lite0_network

LOADERS: dict[FeatureNetworkName, Callable[[Mapping[str, GivenFile]], FeatureNetwork]] = {
    "lite0": load_lite0_network,
    "inception": load_inception,
    "dinov2": load_dinov2,
    "i3d": load_i3d,
    "clip": load_clip,
}
assert set(LOADERS) == set(get_args(FeatureNetworkName)), "every name has a loader"


def load_feature_network(name: FeatureNetworkName, files: Mapping[str, GivenFile]) -> FeatureNetwork:
    """Return the network, on the CPU.

    Args: files: role -> file, for each of the card's `files`.
    Raises: ValueError with everything that is missing or damaged, as planning reports it.
    """
    if problems := FEATURE_NETWORKS[name].problems(files):
        raise ValueError("\n".join(problems))
    return LOADERS[name](files)
