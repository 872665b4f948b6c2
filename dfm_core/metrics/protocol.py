"""Protocols of measured numbers; two numbers are comparable if theirs are equal. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from dfm_core.catalog.metrics import METRICS, STATISTICS, MetricName
from dfm_core.config import EvaluationConfig


@dataclass(frozen=True)
class Protocol:
    """Conditions of a measurement; plain values, so that `asdict` is its record and `Protocol(**record)` reads it."""

    metric: str
    network: str
    """Feature network and layer."""
    weights_sha256: str
    preprocessing: str
    num_samples: int
    reference: str
    """Identity of the reference set, or of the label probe: its digest. Empty for metrics that read neither."""
    guidance: float
    ema_decay: float
    """Decay of the averaged weights that were sampled; 0 is the weights themselves."""
    label_sampling: str
    settings: str = ""
    """The metric's own: splits, subsets, neighbours."""


def settings_text(metric: MetricName, evaluation: EvaluationConfig) -> str:
    """Return a metric's own settings for its protocol, e.g. "inception_splits=10"."""
    keys = STATISTICS[METRICS[metric].statistic].settings
    return ", ".join(f"{key}={getattr(evaluation, key)}" for key in keys)
