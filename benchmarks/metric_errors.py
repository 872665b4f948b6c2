"""Standard errors of metrics beside the true spread over sets of samples drawn anew, on Lite0 features.

    python benchmarks/metric_errors.py [--sets 1000] [--with-errors 100] [--pair-sets 150] [--samples 300 1000]

Images are the embedded ones. Sets are drawn from smoothed features: a real image of the label, and Gaussian noise of
the label's covariance, so that a population has no end and its Fréchet distance is known. Two models: real images
(near the floor), and real images mixed with blurred, noisy ones. Both draw with the same noise. Printed is the root of
the mean squared standard error over the standard deviation of the values (targets: 0.85 to 1.2; differences 0.95 to
1.04), and where a bias is estimated, the mean value with and without it.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from analysis.contract.metric_errors import MetricError, paired_standard_error
from dfm_core.catalog.metrics import MetricName, Output
from dfm_core.config import EvaluationConfig
from dfm_core.config.choices import LabelSampling
from dfm_core.metrics.reference import Reference
from dfm_core.metrics.scores.accumulator import Batch, Score
from dfm_core.metrics.scores.feature_store import FeatureStore
from dfm_core.metrics.scores.frechet import frechet_distance
from dfm_core.metrics.scores.moments import GaussianStatistics, Moments
from dfm_core.metrics.scores.probe import LinearProbe, fit_linear_probe
from dfm_core.metrics.suite import MetricSuite

METRICS: tuple[MetricName, ...] = ("fd_lite0_block10", "label_accuracy", "class_score")
PAIR_METRICS: tuple[MetricName, ...] = (
    "kd_lite0", "precision_lite0", "recall_lite0", "density_lite0", "coverage_lite0",
)  # fmt: skip
"""Metrics that compare samples pair by pair, which takes longer; against the first 1,000 real images."""
BLOCK10, PROBE = Output("lite0", "block10"), Output("lite0", "class_scores")
_SMOOTHING = 0.3
"""Noise, as a share of the deviation of a label's features."""


@dataclass(frozen=True)
class Population:
    """Features of a model's samples, by label: a mixture without end around given features."""

    name: str
    features: Sequence[Tensor]
    """By label, [rows, D] float64."""
    factors: Sequence[Tensor]
    """Factor of the covariance of the noise, by label, [D, D]."""

    @classmethod
    def around(cls, name: str, features: Tensor, labels: Tensor) -> Population:
        """Args: features: [N, D]. labels: [N] int64."""
        rows = [features[labels == label].double() for label in range(int(labels.max()) + 1)]
        ridge = 1e-6 * torch.eye(features.shape[1], dtype=torch.float64)
        return cls(name, rows, [_SMOOTHING * torch.linalg.cholesky(torch.cov(one.T) + ridge) for one in rows])

    def draw(self, num_samples: int, label_sampling: LabelSampling, seed: int) -> tuple[Tensor, Tensor]:
        """Return features, [N, D] float64, and labels, [N]; populations of equal numbers of rows share the noise."""
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(num_samples) % len(self.features)
        if label_sampling == "uniform":
            labels = torch.randint(len(self.features), (num_samples,), generator=generator)
        picks = torch.rand(num_samples, generator=generator, dtype=torch.float64)
        noise = torch.randn(num_samples, self.features[0].shape[1], generator=generator, dtype=torch.float64)
        drawn = torch.empty_like(noise)
        for label, (rows, factor) in enumerate(zip(self.features, self.factors, strict=True)):
            own = labels == label
            drawn[own] = rows[(picks[own] * len(rows)).long()] + noise[own] @ factor.T
        return drawn, labels

    @property
    def statistics(self) -> GaussianStatistics:
        """Mean and covariance of all, labels being equally frequent."""
        means = torch.stack([rows.mean(dim=0) for rows in self.features])
        within = [
            torch.cov(rows.T, correction=0) + factor @ factor.T
            for rows, factor in zip(self.features, self.factors, strict=True)
        ]
        covariance = torch.stack(within).mean(dim=0) + torch.cov(means.T, correction=0)
        return GaussianStatistics(means.mean(dim=0).numpy(), covariance.numpy(), None)


@dataclass(frozen=True)
class Setting:
    """Reference and settings of the measurements."""

    reference: Tensor
    """Features of real images, [M, D]."""
    probe: LinearProbe
    evaluation: EvaluationConfig
    metrics: tuple[MetricName, ...] = METRICS

    def measure(self, features: Tensor, labels: Tensor, *, errors: bool) -> dict[MetricName, Score]:
        """Measure samples as an evaluation does. Args: features: [N, D]. labels: [N]."""
        evaluation = self.evaluation if errors else replace(self.evaluation, bootstrap_replicates=0)
        suite = MetricSuite(self.metrics, evaluation, len(features), self.probe.weight.shape[1])
        indices = torch.arange(len(features))
        scores = torch.from_numpy(self.probe.scores(features.numpy()))
        batches = {BLOCK10: Batch(indices, features), PROBE: Batch(indices, scores, labels)}
        kept = {output: FeatureStore.empty().update(batches[output]) for output in suite.stored_outputs}
        reference = Reference({"block10": Moments.of(self.reference)}, {"block10": self.reference})
        return suite.compute(suite.update(suite.empty(), batches), kept, {"lite0": reference})


@dataclass(frozen=True)
class Outcome:
    """Errors of a metric over sets drawn anew."""

    mean: float
    deviation: float
    """Deviation of the values over all sets."""
    ratio: float
    """Root of the mean squared standard error over the deviation."""
    corrected: float | None
    """Mean value without its estimated bias."""

    def __str__(self) -> str:
        means = "" if self.corrected is None else f" ({self.mean:.3g} → {self.corrected:.3g})"
        return f"{self.ratio:.2f}{means}"


def simulate(
    setting: Setting,
    populations: Sequence[Population],
    num_samples: int,
    label_sampling: LabelSampling,
    num_sets: int,
    num_with_errors: int,
) -> dict[tuple[str, MetricName], Outcome]:
    """Return outcomes by population and metric, and under "difference" those of the last minus the first population."""
    setting = replace(setting, evaluation=replace(setting.evaluation, label_sampling=label_sampling))
    values: dict[tuple[str, MetricName], list[float]] = defaultdict(list)
    errors: dict[tuple[str, MetricName], list[float]] = defaultdict(list)
    corrected: dict[tuple[str, MetricName], list[float]] = defaultdict(list)
    for number in range(num_sets):
        found = [
            setting.measure(*population.draw(num_samples, label_sampling, number), errors=number < num_with_errors)
            for population in populations
        ]
        for name in setting.metrics:
            for population, scores in zip(populations, found, strict=True):
                values[population.name, name].append(scores[name].value)
            values["difference", name].append(found[-1][name].value - found[0][name].value)
            if number >= num_with_errors:
                continue
            pair = [_metric_error(scores[name]) for scores in found]
            errors["difference", name].append(paired_standard_error(pair[-1], pair[0]))
            for population, error in zip(populations, pair, strict=True):
                errors[population.name, name].append(error.standard_error)
                if error.corrected is not None:
                    corrected[population.name, name].append(error.corrected)
    return {
        key: Outcome(
            float(np.mean(values[key])),
            float(np.std(values[key], ddof=1)),
            math.sqrt(float(np.mean(np.square(errors[key])))) / max(float(np.std(values[key], ddof=1)), 1e-300),
            float(np.mean(corrected[key])) if key in corrected else None,
        )
        for key in values
    }


def _metric_error(score: Score) -> MetricError:
    assert score.error is not None, "it was asked for"
    own = score.error
    return MetricError(
        own.method, score.value, own.standard_error, own.influences, own.apart, own.design, own.bias, own.interval
    )


def embedded_features(file: Path | None) -> Mapping[str, tuple[Tensor, Tensor]]:
    """Return (features, labels) of training, reference and spoiled training images. Args: file: where they are kept."""
    if file is not None and file.exists():
        kept: Mapping[str, tuple[Tensor, Tensor]] = torch.load(file, weights_only=True)
        return kept
    from dfm_core.data.image_dataset import load_dataset
    from dfm_core.metrics.features.lite0 import load_lite0

    network = load_lite0()
    found = {}
    for split in ("train", "reference"):
        images = load_dataset("fashion_mnist", split)
        versions = {split: images.pixels, **({"spoiled": _spoiled(images.pixels)} if split == "train" else {})}
        for name, pixels in versions.items():
            with torch.no_grad():
                features = torch.cat([network(part)["block10"] for part in pixels.split(250)])
            found[name] = features, torch.as_tensor(images.labels)
    if file is not None:
        torch.save(found, file)
    return found


def _spoiled(pixels: Tensor) -> Tensor:
    padded = torch.nn.functional.pad(pixels.float(), (1, 1, 1, 1), mode="replicate")
    noise = 12 * torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(padded, 3, stride=1)
    return (blurred + noise).clamp(0, 255).round().to(torch.uint8)


def main() -> None:
    """Print the table of docs/metrics.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="sets drawn anew; 0: none")
    parser.add_argument("--with-errors", type=int, default=100, help="sets whose standard errors are computed")
    parser.add_argument("--pair-sets", type=int, default=150, help="sets of metrics that compare pairs; 0: none")
    parser.add_argument("--samples", type=int, nargs="+", default=[300, 1000], help="samples of a set")
    parser.add_argument("--features", type=Path, help="file in which features of the images are kept")
    options = parser.parse_args()
    images = embedded_features(options.features)
    (real, labels), (spoiled, _), (reference, reference_labels) = (
        images[name] for name in ("train", "spoiled", "reference")
    )
    probe = fit_linear_probe(reference.double().numpy(), reference_labels.numpy(), 10)
    setting = Setting(reference, probe, EvaluationConfig(kernel_subset_size=200, kernel_subsets=10))
    populations = [
        Population.around("real images", real, labels),
        Population.around("model", 0.8 * real + 0.2 * spoiled, labels),
    ]
    truth = {one.name: frechet_distance(one.statistics, Moments.of(reference)) for one in populations}
    print(f"Fréchet distance of the populations: {truth}")
    if options.sets:
        _print_table(setting, populations, options.sets, min(options.with_errors, options.sets), options.samples)
    if options.pair_sets:
        pairs = replace(setting, metrics=PAIR_METRICS, reference=reference[:1000])
        _print_table(
            pairs, populations, options.pair_sets, min(options.with_errors, options.pair_sets // 5), options.samples
        )


def _print_table(
    setting: Setting, populations: Sequence[Population], num_sets: int, num_with_errors: int, sizes: Sequence[int]
) -> None:
    print("| N | labels | of | " + " | ".join(setting.metrics) + " |")
    print("|" + " :-- |" * 3 + " --: |" * len(setting.metrics))
    label_samplings: tuple[LabelSampling, ...] = ("uniform", "balanced")
    for num_samples, label_sampling in product(sizes, label_samplings):
        outcomes = simulate(setting, populations, num_samples, label_sampling, num_sets, num_with_errors)
        for name in (*(one.name for one in populations), "difference"):
            cells = " | ".join(str(outcomes[name, metric]) for metric in setting.metrics)
            print(f"| {num_samples:,} | {label_sampling} | {name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
