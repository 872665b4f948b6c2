"""All metrics of one measurement together: every statistic of an output once, and every feature matrix read once.

Metrics that share a statistic (precision, recall, density, coverage) share its accumulator; a network that gives
several outputs runs once. What streams is merged in any order; what has to see all features gets them at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import hypot
from typing import Any

import torch
from torch import Tensor

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, STATISTICS, MetricName, Output, StatisticName, output_width
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.bootstrap import standard_errors
from dfm_core.metrics.reference import Reference
from dfm_core.metrics.registry import ACCUMULATORS, RESAMPLERS, STORES_FEATURES, Sizes
from dfm_core.metrics.scores.accumulator import Accumulator, Batch, Score
from dfm_core.metrics.scores.feature_store import FeatureStore

Key = tuple[Output, StatisticName]
Partial = Mapping[Key, Accumulator[Any]]
"""State of the streaming statistics over some samples."""


@dataclass(frozen=True)
class MetricSuite:
    """The metrics of an evaluation, and the sizes that follow from them."""

    metrics: tuple[MetricName, ...]
    evaluation: EvaluationConfig
    num_samples: int
    num_classes: int
    """Classes of the data, for the outputs of the label probe."""

    @cached_property
    def keys(self) -> tuple[Key, ...]:
        """The statistics that the metrics need, each once."""
        cards = [METRICS[name] for name in self.metrics]
        return tuple(dict.fromkeys((card.output, card.statistic) for card in cards))

    @property
    def outputs(self) -> tuple[Output, ...]:
        """Outputs that every sample needs."""
        return tuple(dict.fromkeys(output for output, _ in self.keys))

    @property
    def stored_outputs(self) -> tuple[Output, ...]:
        """Outputs of which `compute` needs the features of all samples."""
        resamples = self.evaluation.bootstrap_replicates > 0
        outputs = (
            output
            for output, statistic in self.keys
            if statistic in STORES_FEATURES or (resamples and statistic in RESAMPLERS)
        )
        return tuple(dict.fromkeys(outputs))

    def sizes(self, output: Output, device: torch.device | str = "cpu") -> Sizes:
        return Sizes(output_width(output, self.num_classes), self.num_samples, self.evaluation, device)

    def empty(self, device: torch.device | str = "cpu") -> Partial:
        """Return the state of the streaming statistics before the first sample."""
        return {
            key: ACCUMULATORS[key[1]](self.sizes(key[0], device)) for key in self.keys if key[1] not in STORES_FEATURES
        }

    def update(self, partial: Partial, batches: Mapping[Output, Batch]) -> Partial:
        """Add some samples. Raises: ValueError if a number of theirs is not finite."""
        return {key: accumulator.update(batches[key[0]]) for key, accumulator in partial.items()}

    @staticmethod
    def merge(first: Partial, second: Partial) -> Partial:
        assert first.keys() == second.keys(), f"{sorted(first)} and {sorted(second)} do not merge"
        return {key: accumulator.merge(second[key]) for key, accumulator in first.items()}

    def compute(
        self,
        partial: Partial,
        kept: Mapping[Output, FeatureStore],
        references: Mapping[FeatureNetworkName, Reference],
    ) -> dict[MetricName, Score]:
        """Return all metrics, with standard errors if `bootstrap_replicates` asks for them.

        Args: partial: of all samples. kept: features of all samples, of `stored_outputs`. references: by network.
        Raises: ValueError if samples are too few, came twice, or a reference lacks what a statistic reads.
        """
        features = {output: kept[output].ordered() for output in self.stored_outputs}
        scores_by_key: dict[Key, dict[str, Score]] = {}
        for output, statistic in self.keys:
            reference = _read(references, output, statistic)
            accumulator = partial.get((output, statistic))
            if accumulator is None:
                rows = features[output]
                accumulator = ACCUMULATORS[statistic](self.sizes(output, rows.device))
                accumulator = accumulator.update(Batch(torch.arange(len(rows), device=rows.device), rows))
            scores = accumulator.compute(reference)
            scores_by_key[output, statistic] = self._with_errors(output, statistic, scores, features, reference)
        cards: Sequence[Any] = [METRICS[name] for name in self.metrics]
        return {card.name: _honest(scores_by_key[card.output, card.statistic][card.score]) for card in cards}

    def _with_errors(
        self,
        output: Output,
        statistic: StatisticName,
        scores: Mapping[str, Score],
        features: Mapping[Output, Tensor],
        reference: Any,
    ) -> dict[str, Score]:
        replicates = self.evaluation.bootstrap_replicates
        if statistic not in RESAMPLERS or not replicates:
            return dict(scores)
        rows, sizes = features[output], self.sizes(output)
        resample = RESAMPLERS[statistic]
        errors = standard_errors(
            lambda counts: resample(rows.flatten(0, -2), reference, sizes, counts),
            num_samples=len(rows),
            num_replicates=replicates,
            seed=self.evaluation.seed,
            rows_per_sample=rows.shape[1] if rows.dim() == 3 else 1,
        )
        if statistic == "kernel_distance":  # whose value is a mean over random subsets, which add a spread of their own
            subsets = self.evaluation.kernel_subsets
            errors = {name: hypot(error, (scores[name].spread or 0.0) / subsets**0.5) for name, error in errors.items()}
        return {name: replace(score, standard_error=errors[name]) for name, score in scores.items()}


def _honest(score: Score) -> Score:
    """Drop the error of 0 of a score whose resamplings all agree, such as a share of 0."""
    if score.standard_error != 0.0:
        return score
    note = "every resampling of the samples gives this number, so its standard error is not known"
    return replace(score, standard_error=None, notes=(*score.notes, note))


def _read(references: Mapping[FeatureNetworkName, Reference], output: Output, statistic: StatisticName) -> Any:
    """Return the reference that a statistic compares the samples with."""
    reads = STATISTICS[statistic].reads
    if not reads:
        return None
    reference = references[output.network]
    known: Mapping[str, Any] = reference.moments if reads == "moments" else reference.features
    if output.name not in known:
        raise ValueError(
            f"{statistic} of {output.network} needs {reads} of {output.name}, which this reference does not have; "
            "statistics from a file know no single images"
        )
    value = known[output.name]
    return value.flatten(0, -2) if reads == "features" else value
