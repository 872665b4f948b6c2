"""Earlier import path of `FEATURE_NETWORKS`, which is in `dfm_core.catalog.feature_networks`."""

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS

__all__ = ["FEATURE_NETWORKS"]
