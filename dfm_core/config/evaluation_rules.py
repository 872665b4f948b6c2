"""Rules of metrics about the data and about their settings: (key, message) of each broken rule. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from dfm_core.catalog.datasets import DatasetCard
from dfm_core.catalog.metrics import METRICS, settings_of
from dfm_core.config.dataset_card import find_card, pixels_card_of
from dfm_core.config.experiment import ExperimentConfig
from dfm_core.config.paradigm_rules import Rule

MAX_REFERENCE_FEATURES = 10_000
"""Real images, at most, whose single features a reference keeps, for the statistics that compare pair by pair."""


def evaluation_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the rules of the evaluation that the config breaks."""
    evaluation, card = config.evaluation, find_card(config.data)
    if evaluation.bootstrap_replicates == 1:
        yield "evaluation.bootstrap_replicates", "1 has no spread: give 0, or 2 and more"
    yield from _setting_problems(config, card)
    if card is not None:
        yield from _metric_problems(config, card)


def _metric_problems(config: ExperimentConfig, card: DatasetCard) -> Iterator[Rule]:
    allowed = ", ".join(name for name, known in METRICS.items() if card.kind in known.samples)
    data, frames = config.data.dataset, _known_frames(config, card)
    for name in config.evaluation.metrics:
        least = METRICS[name].min_frames
        if card.kind not in METRICS[name].samples:
            yield "evaluation.metrics", f"{name} does not measure {card.kind}, which {data} has: {allowed}"
        elif frames is not None and frames < least:
            yield "evaluation.metrics", f"{name} needs clips of {least} frames or more, and {data}'s have {frames}"
    if "clip_similarity" in config.evaluation.metrics and not card.names_classes:
        yield "evaluation.metrics", f"clip_similarity needs captions, and {config.data.dataset}'s classes have no names"


def _known_frames(config: ExperimentConfig, card: DatasetCard) -> int | None:
    """Frames of a video as it is measured; None for images, and for latents of unknown origin."""
    if card.path is None and config.data.described is None:
        return None
    return pixels_card_of(config.data).frames


def _setting_problems(config: ExperimentConfig, card: DatasetCard | None) -> Iterator[Rule]:
    """Yield settings that the asked metrics read and that do not fit the number of images."""
    evaluation = config.evaluation
    read = settings_of(evaluation.metrics)
    samples = evaluation.num_samples
    real = MAX_REFERENCE_FEATURES
    if card is not None:  # training images take the samples' place in the floor
        real = min(card.num_reference_images, card.num_train_images, MAX_REFERENCE_FEATURES)
    if "inception_splits" in read and evaluation.inception_splits > min(samples, real):
        message = f"{evaluation.inception_splits} splits of {min(samples, real)} samples are empty"
        yield "evaluation.inception_splits", message + _asking(config, "inception_splits")
    if "kernel_subset_size" in read and not 2 <= evaluation.kernel_subset_size <= min(samples, real):
        allowed = f"must be from 2 to {min(samples, real)}: there are {samples} samples and {real} real images"
        message = f"{evaluation.kernel_subset_size} {allowed}"
        yield "evaluation.kernel_subset_size", message + _asking(config, "kernel_subset_size")
    if "num_neighbours" in read and evaluation.num_neighbours >= min(samples, real):
        message = f"{evaluation.num_neighbours} needs more samples and real images than {samples} and {real}"
        yield "evaluation.num_neighbours", message + _asking(config, "num_neighbours")
    if "caption" in read and evaluation.caption.count("{}") != 1:
        message = f"{evaluation.caption!r} must hold {{}} once, in the place of the class's name"
        yield "evaluation.caption", message + _asking(config, "caption")


def _asking(config: ExperimentConfig, key: str) -> str:
    """Name the metrics that read a setting: asking for them may be the mistake."""
    metrics = dict.fromkeys(config.evaluation.metrics)
    return f" (read by {', '.join(name for name in metrics if key in settings_of([name]))})"
