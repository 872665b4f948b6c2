"""Earlier import path of `DATASETS`, which is in `dfm_core.catalog.datasets`."""

from dfm_core.catalog.datasets import DATASETS

__all__ = ["DATASETS"]
