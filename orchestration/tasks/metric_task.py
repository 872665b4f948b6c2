"""The shared builder of tasks that compute metrics, and the tasks that their numbers depend on.

The settings behind a number enter the digest and travel with the number as its protocol: feature network, weights,
preprocessing, reference set. Where files lie enters neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, MetricName, networks_of, references_of
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.metrics.protocol import Protocol, settings_text
from orchestration.common.digests import digest_of
from orchestration.data.identity import real_identity
from orchestration.tasks.measurement import (
    MeasurementFiles,
    evaluation_payload,
    measured_metrics,
    real_source,
    sampling_payload,
    source_bytes,
)
from orchestration.tasks.references import probe_task, reference_task
from orchestration.tasks.task import MeasuringTask, MetricTask, ProbeTask, RealImagesTask, ReferenceTask, Source

_RECORD_BYTES = 300_000
_ERROR_BYTES, _BYTES_PER_INFLUENCE = 400, 6
"""Entry of an error in a record, and of each of its influences, as text."""
_MetricTask = TypeVar("_MetricTask", bound=MetricTask)


@dataclass(frozen=True)
class MeasurementInputs:
    """Reference, probe and real-image tasks that the evaluations of a config depend on."""

    files: MeasurementFiles
    references: Mapping[FeatureNetworkName, ReferenceTask]
    probe: ProbeTask | None
    real_images: RealImagesTask | None

    @classmethod
    def of(cls, config: ExperimentConfig, files: MeasurementFiles) -> MeasurementInputs:
        metrics = measured_metrics(config.evaluation)
        references = {network: reference_task(config, network, files) for network in references_of(metrics)}
        probe = probe_task(config, files) if any(METRICS[name].needs_probe for name in metrics) else None
        inputs = cls(files, references, probe, None)
        return replace(inputs, real_images=real_images_task(config, inputs))

    @property
    def tasks(self) -> list[MeasuringTask]:
        """All of the tasks, inputs before their readers."""
        return [task for task in (*self.references.values(), self.probe, self.real_images) if task is not None]

    @property
    def probe_digest(self) -> str:
        """Digest of the label probe's task; "" if no metric reads it."""
        return self.probe.digest if self.probe is not None else ""


def real_images_task(config: ExperimentConfig, inputs: MeasurementInputs) -> RealImagesTask | None:
    """Return the task that measures real images as samples are: the score of a perfect model at this number of them.

    Training images stand against the reference images; what reads no reference is measured on the reference images,
    which the label probe has not seen. None if the data has no images apart, or the statistics are imported.
    """
    card, evaluation = card_of(config.data), config.evaluation
    metrics = [(name, METRICS[name].reference) for name in measured_metrics(evaluation)]
    compared = tuple(name for name, network in metrics if network is not None and inputs.references[network].sources)
    alone = tuple(name for name, network in metrics if network is None)
    if not card.held_out or not (compared or alone):
        return None
    splits = (("train", card.num_train_images, compared), ("reference", card.num_reference_images, alone))
    sources = tuple(
        real_source(
            config,
            split,
            min(evaluation.num_samples, available),
            inputs.files.looked_at_by(networks_of(measured)),
            measured,
        )
        for split, available, measured in splits
        if measured
    )
    counts = {source.split: source.num_samples for source in sources}
    title = f"{config.data.title}, {min(counts.values()):,} real {card.kind}"
    own = {"data": real_identity(config.data), "num_images": counts}
    return metric_task(RealImagesTask, config, title, own, sources, inputs)


def metric_task(
    kind: type[_MetricTask],
    config: ExperimentConfig,
    title: str,
    own: Mapping[str, Any],
    sources: tuple[Source, ...],
    inputs: MeasurementInputs,
    *,
    sampled: bool = False,
) -> _MetricTask:
    """Return the task that computes the metrics of its sources.

    Args: own: what its payload says of the images. sampled: whether a model makes them by the config's settings.
    """
    evaluation, metrics = config.evaluation, [name for source in sources for name in source.metrics]
    references = {network: inputs.references[network].digest for network in references_of(metrics)}
    drawn = {"num_samples": evaluation.num_samples, "label_sampling": evaluation.label_sampling}
    payload = {
        "kind": kind.kind,
        **own,
        "references": references,
        "probe": inputs.probe_digest,
        "networks": {network: inputs.files.identity(network) for network in networks_of(metrics)},
        **({"sampling": sampling_payload(config)} if sampled else {}),
        "evaluation": {**evaluation_payload(evaluation, metrics), **(drawn if sampled else {})},
        "numerics": NUMERICS_CHANGED_IN[kind.kind],
    }
    return kind(
        digest_of(payload),
        title,
        payload,
        tuple(filter(None, (*references.values(), inputs.probe_digest))),
        config,
        _RECORD_BYTES
        + len(metrics) * (_ERROR_BYTES + _BYTES_PER_INFLUENCE * evaluation.bootstrap_replicates)
        + sum(map(source_bytes, sources)),
        sources,
        references,
        inputs.probe_digest,
        {
            name: _protocol(name, config, inputs, source.num_samples, sampled=sampled)
            for source in sources
            for name in source.metrics
        },
    )


def _label_sampling(config: ExperimentConfig) -> str:
    return "captions of the test images" if config.data.sides else config.evaluation.label_sampling


def _settings(metric: MetricName, config: ExperimentConfig) -> str:
    if METRICS[metric].statistic == "clip_similarity" and config.data.sides:  # each image's own captions
        return "captions cut at CLIP's 77 tokens"
    return settings_text(metric, config.evaluation)


def _protocol(
    metric: MetricName, config: ExperimentConfig, inputs: MeasurementInputs, num_samples: int, *, sampled: bool
) -> Protocol:
    card = METRICS[metric]
    network = FEATURE_NETWORKS[card.output.network]
    reference = "" if card.reference is None else inputs.references[card.reference].digest
    averaged = sampled and config.sampling.weights == "ema"
    return Protocol(
        metric=metric,
        network=f"{network.title}: {card.output.name}",
        weights_sha256=inputs.files.weights(card.output.network)["weights"],
        preprocessing=network.preprocessing,
        num_samples=num_samples,
        reference=inputs.probe_digest if card.needs_probe else reference,
        guidance=config.sampling.guidance if sampled else 1.0,
        ema_decay=config.training.ema_decay if averaged else 0.0,
        label_sampling=_label_sampling(config) if sampled else "of the images",
        settings=_settings(metric, config),
    )
