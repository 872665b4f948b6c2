"""The metrics that can be named in a config. Needs no torch: planning and analysis read it.

A metric is a statistic of the output of a feature network. To add one: a name in `MetricName` and a card here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName

MetricName = Literal[
    "fd_lite0_block10",
    "fd_lite0_head",
    "fd_lite0_changes",
    "label_accuracy",
    "class_score",
    "kd_lite0",
    "precision_lite0",
    "recall_lite0",
    "density_lite0",
    "coverage_lite0",
    "fid",
    "kid",
    "inception_score",
    "fdd",
    "precision",
    "recall",
    "density",
    "coverage",
    "frame_fid",
    "fvd",
    "clip_similarity",
]
StatisticName = Literal[
    "frechet_distance", "kernel_distance", "neighbours", "inception_score", "label_accuracy", "clip_similarity"
]
Samples = Literal["images", "videos"]

CLASS_SCORES = "class_scores"
"""An output that the label probe makes of lite0's block10: a score for every class."""
CHANGES = "block10_changes"
"""An output of videos, made of lite0's block10: its difference from each frame to the next."""


class Output(NamedTuple):
    """A feature network's output, of which a statistic is taken."""

    network: FeatureNetworkName
    name: str


@dataclass(frozen=True)
class StatisticCard:
    """Facts of a statistic for planning; `metrics.registry` computes it."""

    better: Literal["lower", "higher"]
    reads: Literal["", "moments", "features"]
    """Reference that the samples are compared with: none, or moments or features of real samples."""
    settings: tuple[str, ...] = ()
    """Keys of `evaluation` that change it; the others enter no digest of it."""


STATISTICS: dict[StatisticName, StatisticCard] = {
    "frechet_distance": StatisticCard("lower", "moments"),
    "kernel_distance": StatisticCard("lower", "features", ("kernel_subsets", "kernel_subset_size")),
    "neighbours": StatisticCard("higher", "features", ("num_neighbours",)),
    "inception_score": StatisticCard("higher", "", ("inception_splits",)),
    "label_accuracy": StatisticCard("higher", ""),
    "clip_similarity": StatisticCard("higher", "", ("caption",)),
}
assert set(STATISTICS) == set(get_args(StatisticName)), "every statistic has a card"


@dataclass(frozen=True)
class MetricCard:
    """Facts of a metric for readers and for planning."""

    name: MetricName
    title: str
    output: Output
    statistic: StatisticName
    about: str
    samples: tuple[Samples, ...] = ("images",)
    """Kinds of samples that it can measure; an image network sees a video's frames one by one."""
    one_of_several: str = ""
    """Name of its score, if its statistic has several."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        return STATISTICS[self.statistic].better

    @property
    def scale(self) -> Literal["log", "share", "linear"]:
        """Scale of its errors: distances spread in proportion to their size, shares of samples lie in [0, 1]."""
        if self.statistic == "frechet_distance":
            return "log"
        return "share" if self.score in ("label_accuracy", "precision", "recall", "coverage") else "linear"

    @property
    def score(self) -> str:
        """Name of the statistic's score."""
        return self.one_of_several or self.statistic

    @property
    def needs_probe(self) -> bool:
        return self.output.name == CLASS_SCORES

    @property
    def min_frames(self) -> int:
        """Fewest frames that a video must have."""
        return 2 if self.output.name == CHANGES else FEATURE_NETWORKS[self.output.network].min_frames

    @property
    def reference(self) -> FeatureNetworkName | None:
        """Network whose reference statistics it reads; None: it reads none."""
        return self.output.network if STATISTICS[self.statistic].reads else None


_BLOCK10, _POOL3, _DINO = Output("lite0", "block10"), Output("inception", "pool3"), Output("dinov2", "cls")
_PROBE = Output("lite0", CLASS_SCORES)
_BOTH: tuple[Samples, ...] = ("images", "videos")
_OWN = "EfficientNet-Lite0 (block 10); not comparable with published numbers"


def _neighbour_cards(output: Output, suffix: str, title: str, of: str) -> list[MetricCard]:
    about = {
        "precision": "share of samples that lie among real images",
        "recall": "share of real images that lie among samples",
        "density": "how many real neighbourhoods hold a sample, over the number of neighbours",
        "coverage": "share of real neighbourhoods that hold a sample",
    }
    return [
        MetricCard(
            _named(f"{score}{suffix}"),
            f"{score}{title}",
            output,
            "neighbours",
            f"{text}; on {of}",
            one_of_several=score,
        )
        for score, text in about.items()
    ]


def _named(name: str) -> MetricName:
    return next(known for known in get_args(MetricName) if known == name)


_CARDS = (
    MetricCard(
        "fd_lite0_block10",
        "FD-Lite0 (block 10)",
        _BLOCK10,
        "frechet_distance",
        "Fréchet distance on 112-d features of EfficientNet-Lite0; not comparable with published FIDs",
        _BOTH,
    ),
    MetricCard(
        "fd_lite0_head",
        "FD-Lite0 (head)",
        Output("lite0", "head"),
        "frechet_distance",
        "Fréchet distance on 1280-d features of EfficientNet-Lite0; mostly estimation bias below 10,000 samples",
        _BOTH,
    ),
    MetricCard(
        "fd_lite0_changes",
        "FD-Lite0 (changes)",
        Output("lite0", CHANGES),
        "frechet_distance",
        f"Fréchet distance of how features change from each frame to the next; on {_OWN}",
        ("videos",),
    ),
    MetricCard(
        "label_accuracy",
        "label accuracy",
        _PROBE,
        "label_accuracy",
        "share of samples that a linear probe, fitted on block-10 features of real training images, puts into the "
        "class that was asked for; of videos, by the mean over their frames",
        _BOTH,
    ),
    MetricCard(
        "class_score",
        "class score",
        _PROBE,
        "inception_score",
        "inception-style score of the label probe's classes: 1 to the number of classes; no inception score",
        _BOTH,
    ),
    MetricCard("kd_lite0", "KD-Lite0", _BLOCK10, "kernel_distance", f"kernel distance (as KID) on {_OWN}"),
    *_neighbour_cards(_BLOCK10, "_lite0", " (Lite0)", _OWN),
    MetricCard(
        "fid", "FID", _POOL3, "frechet_distance", "Fréchet distance on 2048-d features of Inception-v3 (2015-12-05)"
    ),
    MetricCard(
        "kid",
        "KID",
        _POOL3,
        "kernel_distance",
        "unbiased kernel distance on 2048-d features of Inception-v3 (2015-12-05)",
    ),
    MetricCard(
        "inception_score",
        "IS",
        Output("inception", "logits"),
        "inception_score",
        "inception score from the classes that Inception-v3 sees",
    ),
    MetricCard(
        "fdd",
        "FDD",
        _DINO,
        "frechet_distance",
        "Fréchet distance on 1024-d features of DINOv2 ViT-L/14; of videos, over all frames",
        _BOTH,
    ),
    *_neighbour_cards(_DINO, "", "", "DINOv2 ViT-L/14"),
    MetricCard(
        "frame_fid", "frame-FID", _POOL3, "frechet_distance", "FID over all decoded frames of the clips", ("videos",)
    ),
    MetricCard(
        "fvd",
        "FVD",
        Output("i3d", "logits"),
        "frechet_distance",
        "Fréchet distance on 400-d features of I3D, trained on Kinetics-400",
        ("videos",),
    ),
    MetricCard(
        "clip_similarity",
        "CLIPSIM",
        Output("clip", "image"),
        "clip_similarity",
        "mean cosine of CLIP ViT-B/32's features of a sample and of its class's caption; not times 100",
        _BOTH,
    ),
)
METRICS: dict[MetricName, MetricCard] = {card.name: card for card in _CARDS}
assert set(METRICS) == set(get_args(MetricName)), "METRICS and MetricName name the same metrics"
assert all(
    card.output.name in (*FEATURE_NETWORKS[card.output.network].outputs, CLASS_SCORES, CHANGES)
    for card in METRICS.values()
), "every metric reads an output that its network has"


def output_width(output: Output, num_classes: int) -> int:
    """Return numbers in a row of an output, of the network's own or made of one."""
    if output.name == CLASS_SCORES:
        return num_classes
    return FEATURE_NETWORKS[output.network].outputs["block10" if output.name == CHANGES else output.name]


def reference_outputs(network: FeatureNetworkName, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the outputs whose statistics of real samples are kept, with their widths.

    Args: shapes: of the network's own outputs of some samples: (B, D), or (B, frames, D) of videos.
    """
    outputs = dict(FEATURE_NETWORKS[network].outputs)
    if network == "lite0" and len(shapes["block10"]) > 2 and shapes["block10"][1] > 1:  # frames
        outputs[CHANGES] = outputs["block10"]
    return outputs


def networks_of(metrics: Iterable[MetricName]) -> tuple[FeatureNetworkName, ...]:
    """Return the feature networks that metrics read, sorted."""
    return tuple(sorted({METRICS[name].output.network for name in metrics}))


def references_of(metrics: Iterable[MetricName]) -> tuple[FeatureNetworkName, ...]:
    """Return the networks whose statistics of real images metrics read, sorted."""
    return tuple(sorted({network for name in metrics if (network := METRICS[name].reference) is not None}))


def needs_labels(metric: MetricName) -> bool:
    """Return True if the metric compares a sample with the class that was asked for."""
    return METRICS[metric].statistic in ("label_accuracy", "clip_similarity")


def settings_of(metrics: Iterable[MetricName]) -> tuple[str, ...]:
    """Return the keys of `evaluation` that some of the metrics read, sorted."""
    return tuple(sorted({key for name in metrics for key in STATISTICS[METRICS[name].statistic].settings}))
