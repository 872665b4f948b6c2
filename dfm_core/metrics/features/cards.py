"""The import path of `FEATURE_NETWORKS` that documentation of earlier releases names."""

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS

__all__ = ["FEATURE_NETWORKS"]
