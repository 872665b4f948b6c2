"""All metrics of one measurement together: every statistic of an output once, and every feature matrix read once.

Metrics that share a statistic (precision, recall, density, coverage) share its accumulator; a network that gives
several outputs runs once. What streams is merged in any order; what has to see all features gets them at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from dfm_core.catalog.feature_networks import FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, STATISTICS, MetricName, Output, StatisticName, output_width
from dfm_core.config import EvaluationConfig
from dfm_core.metrics.errors import ERRORS, with_errors
from dfm_core.metrics.reference import Reference
from dfm_core.metrics.registry import ACCUMULATORS, STORES_FEATURES, Sizes
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
    generated: bool = True
    """True if a model made the samples, with labels as `label_sampling` says."""

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
        has_errors = self.evaluation.bootstrap_replicates > 0
        outputs = (
            output
            for output, statistic in self.keys
            if statistic in STORES_FEATURES or (has_errors and statistic in ERRORS)
        )
        return tuple(dict.fromkeys(outputs))

    def sizes(self, output: Output, device: torch.device | str = "cpu") -> Sizes:
        in_turn = self.generated and self.evaluation.label_sampling == "balanced"
        width = output_width(output, self.num_classes)
        return Sizes(width, self.num_samples, self.num_classes if in_turn else 1, self.evaluation, device)

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
        scores_by_key: dict[Key, Mapping[str, Score]] = {}
        for output, statistic in self.keys:
            reference = _read(references, output, statistic)
            accumulator = partial.get((output, statistic))
            if accumulator is None:
                rows = features[output]
                accumulator = ACCUMULATORS[statistic](self.sizes(output, rows.device))
                accumulator = accumulator.update(Batch(torch.arange(len(rows), device=rows.device), rows))
            scores: Mapping[str, Score] = accumulator.compute(reference)
            if output in features and statistic in ERRORS and self.evaluation.bootstrap_replicates:
                scores = with_errors(statistic, scores, features[output], reference, self.sizes(output))
            scores_by_key[output, statistic] = scores
        cards: Sequence[Any] = [METRICS[name] for name in self.metrics]
        return {card.name: scores_by_key[card.output, card.statistic][card.score] for card in cards}


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
