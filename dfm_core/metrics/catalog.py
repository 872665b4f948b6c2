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
    needs: str = ""
    """What this version lacks to compute it; sweeps that name it can be planned, not run."""


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
    "fid": MetricCard(
        "fid",
        "FID",
        "lower",
        "floor_fid",
        "Fréchet distance on 2048-d features of Inception-v3 (2015-12-05)",
        "Inception-v3 features, which this version does not compute yet",
    ),
    "fdd": MetricCard(
        "fdd",
        "FDD",
        "lower",
        "floor_fdd",
        "Fréchet distance on 1024-d features of DINOv2 ViT-L/14",
        "DINOv2 features, which this version does not compute yet",
    ),
    "inception_score": MetricCard(
        "inception_score",
        "IS",
        "higher",
        "floor_inception_score",
        "inception score from the classes that Inception-v3 sees",
        "Inception-v3 features, which this version does not compute yet",
    ),
    "frame_fid": MetricCard(
        "frame_fid",
        "frame-FID",
        "lower",
        "floor_frame_fid",
        "FID over all decoded frames of the clips",
        "Inception-v3 features, which this version does not compute yet",
    ),
    "fvd": MetricCard(
        "fvd",
        "FVD",
        "lower",
        "floor_fvd",
        "Fréchet distance on 400-d features of I3D, trained on Kinetics-400",
        "I3D features, which this version does not compute yet",
    ),
}
assert set(METRICS) == set(get_args(MetricName)), "METRICS and MetricName name the same metrics"
