"""Sampling and evaluation of a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Gt, Interval, Le, Len

from dfm_core.catalog.metrics import MetricName
from dfm_core.config import choices


@dataclass(frozen=True)
class SamplingConfig:
    """Settings with which a snapshot is turned into images."""

    steps: Annotated[tuple[Annotated[int, Interval(gt=0, le=10_000)], ...], Len(1, 6)] = (30, 10)
    """Solver steps of each stage."""
    tau: tuple[Annotated[float, Gt(0.0), Le(1.0)], ...] = (0.7,)
    """dfm: timestep that stage s reaches before stage s + 1 starts; one per stage but the last."""
    guidance: Annotated[float, Interval(ge=0.0, le=100.0)] = 1.0
    """Classifier-free guidance weight; 1 is the conditional model alone."""
    guidance_interval: Annotated[tuple[choices.UnitTime, ...], Len(2, 2)] = (0.0, 1.0)
    """A scale is guided only while its timestep lies in [first, second]; elsewhere it follows the conditional model."""
    solver: choices.Solver = "euler"
    """`heun` evaluates twice a step, but once in a step that ends at the data, and converges with order 2."""
    time_shift: choices.PositiveFloat = 1.0
    """Time grid inside each stage: 1 is linear; s > 1 takes smaller steps near the noise, t -> t / (s - (s - 1) t)."""
    condition_noise: Annotated[float, Interval(ge=0.0, lt=1.0)] = 0.025
    """cascaded: share of fresh noise in the first stage's output when the second reads it (paper, appendix B)."""
    weights: choices.SampledWeights = "ema"
    """`ema`: the averaged weights (training.ema_decay); `raw`: those that the optimiser moves."""


@dataclass(frozen=True)
class EvaluationConfig:
    """Metrics of a snapshot and their settings."""

    at_steps: tuple[choices.PositiveInt, ...] = ()
    """Training steps whose snapshots are evaluated; empty means the last step only."""
    num_samples: Annotated[int, Interval(ge=2, le=10**7)] = 10_000
    """Samples that are generated and measured."""
    metrics: Annotated[tuple[MetricName, ...], Len(1, 16)] = ("fd_lite0_block10", "fd_lite0_head", "label_accuracy")
    """Metrics of the samples, see [Metrics](#metrics)."""
    label_sampling: choices.LabelSampling = "uniform"
    """`uniform`: classes drawn at random (DiT); `balanced`: sample i has class i mod num_classes."""
    seed: choices.NonNegativeInt = 0
    """Seed of the sampling noise; shared by all rows, so that methods are compared on the same noise."""
    bootstrap_replicates: Annotated[int, Interval(ge=0, le=10_000)] = 100
    """Parts of the samples, at most, that a metric is computed of for its standard error: without one group or two, or
    halves. 0: no error, but for means over samples, and no features in memory for it."""
    inception_splits: choices.PositiveInt = 10
    """inception_score, class_score: parts of the samples whose scores are averaged."""
    kernel_subsets: choices.PositiveInt = 100
    """kid, kd_lite0: subsets whose distances are averaged."""
    kernel_subset_size: choices.PositiveInt = 1000
    """Samples of one subset of a kernel distance; its value is the mean over subsets."""
    num_neighbours: choices.PositiveInt = 5
    """precision, recall, density, coverage: balls reach to this nearest neighbour."""
    caption: str = "a photo of a {}"
    """clip_similarity: the text of a class, its name in the place of {}."""
