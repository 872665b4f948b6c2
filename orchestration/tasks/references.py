"""The tasks that an evaluation depends on: reference statistics, the label probe, real images measured like samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.catalog.metrics import METRICS, networks_of, references_of
from dfm_core.config import NUMERICS_CHANGED_IN, ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.evaluation_rules import MAX_REFERENCE_FEATURES
from orchestration.common.digests import digest_of
from orchestration.data.identity import pixels_digest, real_identity
from orchestration.tasks.measurement import (
    _BYTES_PER_FEATURE,
    _RECORD_BYTES,
    PROBE_NETWORK,
    MeasurementFiles,
    _evaluation_payload,
    _has_images,
    _protocol,
    measured_metrics,
    real_source,
    source_bytes,
)
from orchestration.tasks.task import Task


def reference_task(config: ExperimentConfig, network: FeatureNetworkName, files: MeasurementFiles) -> Task:
    """Moments of real images on one network, and features of some; or those of a file that somebody else made."""
    data, card = config.data.dataset, card_of(config.data)
    num_kept = min(card.num_reference_images, MAX_REFERENCE_FEATURES)
    widths = FEATURE_NETWORKS[network].outputs.values()
    num_bytes = sum(width * (2 * width + num_kept) for width in widths) * _BYTES_PER_FEATURE
    imported = files.imported(data, network)
    payload = {
        "kind": "reference",
        "data": real_identity(config.data) if imported is None else data,
        **files.identity(network),
        "numerics": NUMERICS_CHANGED_IN["reference"],
    }
    if imported is not None:
        payload["imported"] = imported.sha256.lower()
        title = f"{data} on {network}, imported"
        return Task("reference", digest_of(payload), title, payload, (), config, flops=0, num_bytes=num_bytes)
    source = real_source(config, "reference", card.num_reference_images, files.looked_at_by([network]))
    num_bytes += source_bytes(source)
    return Task(
        "reference",
        digest_of(payload),
        f"{data} on {network}, {card.num_reference_images:,} {card.kind}",
        payload,
        tuple(filter(None, [pixels_digest(config.data)])),
        config,
        flops=0,
        num_bytes=num_bytes,
        sources=(source,),
    )


def probe_task(config: ExperimentConfig, files: MeasurementFiles) -> Task:
    """A linear probe of the classes, fitted on features of all training images."""
    card = card_of(config.data)
    payload = {
        "kind": "probe",
        "data": real_identity(config.data),
        **files.identity(PROBE_NETWORK),
        "numerics": NUMERICS_CHANGED_IN["probe"],
    }
    source = real_source(config, "train", card.num_train_images, files.looked_at_by([PROBE_NETWORK]))
    title = f"classes of {config.data.dataset} from {card.num_train_images:,} {card.kind}"
    return Task(
        "probe",
        digest_of(payload),
        title,
        payload,
        (),
        config,
        flops=0,
        num_bytes=source_bytes(source),
        sources=(source,),
    )


@dataclass(frozen=True)
class MeasurementInputs:
    """What the evaluations of a config are held against."""

    files: MeasurementFiles
    references: Mapping[FeatureNetworkName, Task]
    probe: Task | None
    floor: Task | None

    @classmethod
    def of(cls, config: ExperimentConfig, files: MeasurementFiles) -> MeasurementInputs:
        metrics = measured_metrics(config.evaluation)
        references = {network: reference_task(config, network, files) for network in references_of(metrics)}
        probe = probe_task(config, files) if any(METRICS[name].needs_probe for name in metrics) else None
        return cls(files, references, probe, floor_task(config, references, probe, files))

    @property
    def tasks(self) -> list[Task]:
        """All of them, inputs before their readers."""
        return [task for task in (*self.references.values(), self.probe, self.floor) if task is not None]


def floor_task(
    config: ExperimentConfig,
    references: Mapping[FeatureNetworkName, Task],
    probe: Task | None,
    files: MeasurementFiles,
) -> Task | None:
    """Real images in the place of samples: what a perfect model would score at this number of them.

    Training images stand against the reference images; what reads no reference is measured on the reference images,
    which the label probe has not seen. None if the data has no images apart, or the statistics are imported.
    """
    card, evaluation = card_of(config.data), config.evaluation
    compared = tuple(m for m in measured_metrics(evaluation) if _has_images(METRICS[m].reference, references))
    alone = tuple(m for m in measured_metrics(evaluation) if METRICS[m].reference is None)
    if not card.held_out or not (compared or alone):
        return None
    splits = (("train", card.num_train_images, compared), ("reference", card.num_reference_images, alone))
    sources = tuple(
        real_source(
            config,
            split,
            min(evaluation.num_samples, available),
            files.looked_at_by(networks_of(metrics)),
            metrics,
        )
        for split, available, metrics in splits
        if metrics
    )
    used = {network: task.digest for network, task in references.items() if network in references_of(compared)}
    probe_digest = probe.digest if probe is not None else ""
    counts = {source.split: source.num_samples for source in sources}
    payload = {
        "kind": "floor",
        "data": real_identity(config.data),
        "num_images": counts,
        "references": used,
        "probe": probe_digest,
        "networks": {network: files.identity(network) for network in networks_of((*compared, *alone))},
        "evaluation": _evaluation_payload(evaluation, (*compared, *alone)),
        "numerics": NUMERICS_CHANGED_IN["floor"],
    }
    protocols = {
        metric: _protocol(
            metric, config, files, references, source.num_samples, "of the images", probe_digest, sampled=False
        )
        for source in sources
        for metric in source.metrics
    }
    return Task(
        "floor",
        digest_of(payload),
        f"{config.data.dataset}, {min(counts.values()):,} real {card.kind}",
        payload,
        tuple(digest for digest in (*used.values(), probe_digest) if digest),
        config,
        flops=0,
        num_bytes=_RECORD_BYTES + sum(map(source_bytes, sources)),
        sources=sources,
        references=used,
        probe=probe_digest,
        protocols=protocols,
    )
