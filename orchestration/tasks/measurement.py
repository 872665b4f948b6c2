"""Parts that all measuring tasks share: files of networks and statistics, real images, settings that metrics read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.metrics import MetricName, Output, settings_of
from dfm_core.config import EvaluationConfig, ExperimentConfig
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.config.plain import as_plain
from orchestration.common.digests import digest_of, without_neutral
from orchestration.config.files import IMPORTABLE_STATISTICS, FileTable
from orchestration.data.identity import real_identity
from orchestration.tasks.task import Source

PROBE_NETWORK: FeatureNetworkName = "lite0"
IMPORTED_OUTPUTS: dict[FeatureNetworkName, Output] = {
    "inception": Output("inception", "pool3"),
    "dinov2": Output("dinov2", "cls"),
    "i3d": Output("i3d", "logits"),
}
"""Output that published files of statistics hold, by network."""
assert tuple(IMPORTED_OUTPUTS) == IMPORTABLE_STATISTICS, "what can be named can be read"
_NOT_GIVEN = "not given"
BYTES_PER_FEATURE = 4


@dataclass(frozen=True)
class MeasurementFiles:
    """Files that a sweep names for measuring; planning reads their checksums alone."""

    networks: FileTable
    """Network -> role -> file."""
    references: FileTable
    """Dataset -> network -> file of statistics that somebody else computed."""

    def weights(self, network: FeatureNetworkName) -> dict[str, str]:
        """Return role -> sha256 of all files of a network; it can be planned before they are there."""
        card = FEATURE_NETWORKS[network]
        if card.packaged is not None:
            return {"weights": card.packaged.sha256}
        given = self.networks.get(network, {})
        return {
            needed.role: given[needed.role].sha256.lower() if needed.role in given else _NOT_GIVEN
            for needed in card.files
        }

    def identity(self, network: FeatureNetworkName) -> dict[str, Any]:
        """Return all that decides what a network makes of pixels."""
        card = FEATURE_NETWORKS[network]
        return {"network": network, "weights": self.weights(network), "preprocessing": card.preprocessing}

    def looked_at_by(self, networks: Iterable[FeatureNetworkName]) -> dict[FeatureNetworkName, str]:
        """Return networks with the digest of their identities, as `Source` has them."""
        return {network: digest_of(self.identity(network)) for network in networks}


def measured_metrics(evaluation: EvaluationConfig) -> tuple[MetricName, ...]:
    """Return the metrics of an evaluation, each once, sorted."""
    return tuple(sorted(set(evaluation.metrics)))


def sampling_payload(config: ExperimentConfig) -> dict[str, Any]:
    """Return the sampling settings that a paradigm reads."""
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
    """Return the first images of a split as a source."""
    payload = {
        "kind": "real",
        "data": real_identity(config.data),
        "split": split,
        "numerics": NUMERICS_CHANGED_IN["real"],
    }
    return Source(digest_of(payload), num_images, networks, split, metrics)


def source_bytes(source: Source) -> int:
    """Return the size of the features of its samples."""
    widths = (sum(FEATURE_NETWORKS[network].outputs.values()) for network in source.networks)
    return sum(widths) * source.num_samples * BYTES_PER_FEATURE


def evaluation_payload(evaluation: EvaluationConfig, metrics: Iterable[MetricName]) -> dict[str, Any]:
    """Return the settings that the metrics read; the seed draws subsets and resamplings too."""
    names = sorted(set(metrics))
    own = without_neutral("evaluation", {key: getattr(evaluation, key) for key in settings_of(names)})
    return {
        "metrics": names,
        "seed": evaluation.seed,
        "bootstrap_replicates": evaluation.bootstrap_replicates,
        **own,
    }
