"""Rules of metrics about the data and about their settings: (key, message) of each broken rule. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterator

from dfm_core.catalog.datasets import DatasetCard
from dfm_core.catalog.metrics import METRICS, settings_of
from dfm_core.config.dataset_card import find_card, pixels_card_of
from dfm_core.config.evaluation import EvaluationConfig
from dfm_core.config.experiment import ExperimentConfig
from dfm_core.config.paradigm_rules import Rule

MIN_GROUPS = 10
"""Fewest groups of samples that a standard error is computed from, where there are as many samples."""
MAX_REFERENCE_FEATURES = 10_000
"""Real images, at most, whose single features a reference keeps, for the statistics that compare pair by pair."""


def evaluation_problems(config: ExperimentConfig) -> Iterator[Rule]:
    """Yield the rules of the evaluation that the config breaks."""
    evaluation, card = config.evaluation, find_card(config.data)
    if 0 < evaluation.bootstrap_replicates < 2 * MIN_GROUPS:
        few = f"{evaluation.bootstrap_replicates} parts of the samples give no usable error"
        yield "evaluation.bootstrap_replicates", f"{few}: give 0, or {2 * MIN_GROUPS} and more"
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
    if config.data.sides:
        yield from _caption_problems(config, card)
    if "clip_similarity" in config.evaluation.metrics and not card.names_classes:
        yield "evaluation.metrics", f"clip_similarity needs captions, and {config.data.dataset}'s classes have no names"


def _caption_problems(config: ExperimentConfig, card: DatasetCard) -> Iterator[Rule]:
    count, there = config.evaluation.num_samples, card.num_reference_images
    if count > there:
        message = f"{count} samples, and each has the caption and the shape of one of the {there} test images"
        yield "evaluation.num_samples", f"{message}: give at most {there}"
    for name in config.evaluation.metrics:
        if METRICS[name].needs_probe:
            yield "evaluation.metrics", f"{name} reads classes, and {config.data.dataset} has captions"


def _known_frames(config: ExperimentConfig, card: DatasetCard) -> int | None:
    """Frames of a video as it is measured; None for images, and for latents of unknown origin."""
    if card.path is None and config.data.described is None:
        return None
    return pixels_card_of(config.data).frames


def _setting_problems(config: ExperimentConfig, card: DatasetCard | None) -> Iterator[Rule]:
    """Yield settings that the asked metrics read and that do not fit, and who reads them: asking may be the mistake."""
    real = MAX_REFERENCE_FEATURES
    if card is not None:  # training images take the samples' place in the floor
        real = min(card.num_reference_images, card.num_train_images, MAX_REFERENCE_FEATURES)
    for key, message in _unfit_settings(config.evaluation, real):
        readers = [name for name in dict.fromkeys(config.evaluation.metrics) if key in settings_of([name])]
        if readers:
            yield f"evaluation.{key}", f"{message} (read by {', '.join(readers)})"


def _unfit_settings(evaluation: EvaluationConfig, real: int) -> Iterator[Rule]:
    """Yield (setting, message) of what does not fit the number of samples, or of real images."""
    samples, fewest = evaluation.num_samples, min(evaluation.num_samples, real)
    if evaluation.inception_splits > fewest:
        yield "inception_splits", f"{evaluation.inception_splits} splits of {fewest} samples are empty"
    if not 2 <= evaluation.kernel_subset_size <= fewest:
        allowed = f"must be from 2 to {fewest}: there are {samples} samples and {real} real images"
        yield "kernel_subset_size", f"{evaluation.kernel_subset_size} {allowed}"
    if evaluation.num_neighbours >= fewest:
        needed = f"needs more samples and real images than {samples} and {real}"
        yield "num_neighbours", f"{evaluation.num_neighbours} {needed}"
    if evaluation.caption.count("{}") != 1:
        yield "caption", f"{evaluation.caption!r} must hold {{}} once, in the place of the class's name"
