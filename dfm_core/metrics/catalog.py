"""The metrics that can be named in a config. Needs no torch: planning and analysis read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from dfm_core.config import MetricName


@dataclass(frozen=True)
class MetricCard:
    """What a reader has to know of a metric."""

    name: MetricName
    title: str
    better: Literal["lower", "higher"]
    floor: str
    """Metric of the reference task to read beside it: what real images score at the same number of images."""
    about: str


METRICS: dict[MetricName, MetricCard] = {
    "fd_lite0_block10": MetricCard(
        "fd_lite0_block10",
        "FD-Lite0 (block 10)",
        "lower",
        "floor_fd_lite0_block10",
        "Fréchet distance on 112-d features of EfficientNet-Lite0; not comparable with published FIDs",
    ),
    "fd_lite0_head": MetricCard(
        "fd_lite0_head",
        "FD-Lite0 (head)",
        "lower",
        "floor_fd_lite0_head",
        "Fréchet distance on 1280-d features of EfficientNet-Lite0; mostly estimation bias below 10,000 samples",
    ),
    "label_accuracy": MetricCard(
        "label_accuracy",
        "label accuracy",
        "higher",
        "floor_label_accuracy",
        "share of samples that a linear probe, fitted on block-10 features of real training images, puts into the "
        "class that was asked for",
    ),
}
assert set(METRICS) == set(get_args(MetricName)), "METRICS and MetricName name the same metrics"
