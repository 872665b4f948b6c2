"""Earlier import path of `METRICS`, which is in `dfm_core.catalog.metrics`."""

from dfm_core.catalog.metrics import METRICS

__all__ = ["METRICS"]
