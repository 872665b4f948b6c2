"""The record of a finished task as JSON, `results/<digest>/result.json`, and the names of its metrics of cost.

MLflow is filled from records, so that a metric has the same name in both, but for `COST_PREFIX`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

ACCELERATOR_SECONDS = "accelerator_seconds"
"""Accelerator time over all attempts that led to a record or a checkpoint."""
SECONDS = "seconds"
"""Wall time; in MLflow a metric beside those of the record."""
IMAGES_PER_SECOND = "images_per_second"
"""Speed of one evaluator."""
NETWORK_EVALUATIONS = "network_evaluations"
"""Evaluations of the velocity network that the last attempt made, images times evaluations."""
NUM_LEFT_OUT = "num_left_out"
"""Samples of a dataset that an encoding left out."""
STARTUP_SECONDS = "startup_seconds"
"""Key in `about` of a training's record: time from the begin of its last attempt to the end of its first step."""
COST_PREFIX = "work/"
"""Prefix of the names of costs in MLflow, so that by the alphabet a run's results come first."""


class RecordDocument(TypedDict):
    """A record."""

    digest: str
    kind: str
    metrics: Mapping[str, float]
    seconds: float
    step: int
    curve: list[Mapping[str, float]]
    """Losses of a training, by step."""
    files: list[str]
    about: Mapping[str, Any]


def standard_error_of(metric: str) -> str:
    """Return the name under which a record has the standard error of a metric."""
    return f"{metric}_standard_error"
