"""The import path of `METRICS` that documentation of earlier releases names."""

from dfm_core.catalog.metrics import METRICS

__all__ = ["METRICS"]
