"""The import path of `DATASETS` that examples and documentation of earlier releases name."""

from dfm_core.catalog.datasets import DATASETS

__all__ = ["DATASETS"]
