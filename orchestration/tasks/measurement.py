"""The parts that all measuring tasks share: files of networks and statistics, real images, the protocol of a number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, Output, settings_of
from dfm_core.config import (
    NUMERICS_CHANGED_IN,
    EvaluationConfig,
    ExperimentConfig,
    MetricName,
    as_plain,
)
from dfm_core.metrics.protocol import Protocol, settings_text
from orchestration.common.digests import digest_of
from orchestration.common.payloads import without_neutral
from orchestration.config.files import FileConfig, FileTable
from orchestration.data.identity import real_identity
from orchestration.tasks.task import Source, Task

PROBE_NETWORK: FeatureNetworkName = "lite0"
IMPORTED_OUTPUTS: dict[FeatureNetworkName, Output] = {
    "inception": Output("inception", "pool3"),
    "dinov2": Output("dinov2", "cls"),
    "i3d": Output("i3d", "logits"),
}
"""What published files of statistics hold, by network."""
_NOT_GIVEN = "not given"
_BYTES_PER_FEATURE = 4
_RECORD_BYTES = 300_000


@dataclass(frozen=True)
class MeasurementFiles:
    """The files that a sweep names for measuring; planning reads their checksums alone."""

    networks: FileTable
    """Network -> role -> file."""
    references: FileTable
    """Dataset -> network -> file of statistics that somebody else computed."""

    def weights(self, network: FeatureNetworkName) -> dict[str, str]:
        """Role -> sha256 of everything a network is made from; it can be planned before the files are there."""
        card = FEATURE_NETWORKS[network]
        if card.packaged is not None:
            return {"weights": card.packaged.sha256}
        given = self.networks.get(network, {})
        return {
            needed.role: given[needed.role].sha256.lower() if needed.role in given else _NOT_GIVEN
            for needed in card.files
        }

    def identity(self, network: FeatureNetworkName) -> dict[str, Any]:
        """What a network makes of pixels."""
        card = FEATURE_NETWORKS[network]
        return {"network": network, "weights": self.weights(network), "preprocessing": card.preprocessing}

    def imported(self, dataset: str, network: FeatureNetworkName) -> FileConfig | None:
        return self.references.get(dataset, {}).get(network)

    def looked_at_by(self, networks: Iterable[FeatureNetworkName]) -> dict[FeatureNetworkName, str]:
        """Networks with the digest of what they make of pixels, as `Source` has them."""
        return {network: digest_of(self.identity(network)) for network in networks}


def measured_metrics(evaluation: EvaluationConfig) -> tuple[MetricName, ...]:
    """The metrics of an evaluation, each once, sorted."""
    return tuple(sorted(set(evaluation.metrics)))


def sampling_payload(config: ExperimentConfig) -> dict[str, Any]:
    """The sampling settings that a paradigm reads."""
    sampling: dict[str, Any] = as_plain(config.sampling)
    if config.training.timesteps == "tied":  # all scales move together: neither the split nor tau is read
        sampling |= {"steps": [sum(config.sampling.steps)], "tau": []}
    if config.sampling.guidance == 1.0:
        del sampling["guidance_interval"]
    if config.paradigm != "cascaded":
        del sampling["condition_noise"]
    return without_neutral("sampling", sampling)


def real_source(
    config: ExperimentConfig,
    split: str,
    num_images: int,
    networks: Mapping[FeatureNetworkName, str],
    metrics: tuple[MetricName, ...] = (),
) -> Source:
    """The first images of a split."""
    payload = {
        "kind": "real",
        "data": real_identity(config.data),
        "split": split,
        "numerics": NUMERICS_CHANGED_IN["real"],
    }
    return Source(digest_of(payload), num_images, networks, split, metrics)


def source_bytes(source: Source) -> int:
    """What the features of its samples take."""
    widths = (sum(FEATURE_NETWORKS[network].outputs.values()) for network in source.networks)
    return sum(widths) * source.num_samples * _BYTES_PER_FEATURE


def _has_images(network: FeatureNetworkName | None, references: Mapping[FeatureNetworkName, Task]) -> bool:
    """Whether a metric is compared with real images of ours."""
    return network is not None and bool(references[network].sources)


def _protocol(
    metric: MetricName,
    config: ExperimentConfig,
    files: MeasurementFiles,
    references: Mapping[FeatureNetworkName, Task],
    num_samples: int,
    labels: str,
    probe: str,
    *,
    sampled: bool = True,
) -> Protocol:
    card = METRICS[metric]
    network = FEATURE_NETWORKS[card.output.network]
    averaged = sampled and config.sampling.weights == "ema"
    return Protocol(
        metric=metric,
        network=f"{network.title}: {card.output.name}",
        weights_sha256=files.weights(card.output.network)["weights"],
        preprocessing=network.preprocessing,
        num_samples=num_samples,
        reference=probe if card.needs_probe else "" if card.reference is None else references[card.reference].digest,
        guidance=config.sampling.guidance if sampled else 1.0,
        ema_decay=config.training.ema_decay if averaged else 0.0,
        label_sampling=labels,
        settings=settings_text(metric, config.evaluation),
    )


def _evaluation_payload(evaluation: EvaluationConfig, metrics: Iterable[MetricName]) -> dict[str, Any]:
    """The settings that the metrics read; the seed draws subsets and resamplings too."""
    names = sorted(set(metrics))
    own = without_neutral("evaluation", {key: getattr(evaluation, key) for key in settings_of(names)})
    return {
        "metrics": names,
        "seed": evaluation.seed,
        "bootstrap_replicates": evaluation.bootstrap_replicates,
        **own,
    }
