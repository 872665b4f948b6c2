"""The tasks that measure images: statistics of real ones, the label probe, the floor, and evaluations of snapshots.

What a number was measured with enters the digest and travels with the number as its protocol: feature network, weights,
preprocessing, reference set. Where files lie enters neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dfm_core.compute import model_cost, sampling_flops
from dfm_core.config import NUMERICS_VERSION, EvaluationConfig, ExperimentConfig, MetricName, as_plain
from dfm_core.data.cards import card_of
from dfm_core.evaluation_rules import KEPT_REFERENCE_IMAGES
from dfm_core.metrics.catalog import METRICS, Output, networks_of, references_of, settings_of, settings_text
from dfm_core.metrics.features.cards import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.metrics.protocol import Protocol
from orchestration.data_identity import pixels_digest, real_identity
from orchestration.digests import digest_of
from orchestration.runtime import IMPORTABLE_STATISTICS, FileConfig
from orchestration.tasks import OUTSIDE, SnapshotRef, Source, Task

PROBE_NETWORK: FeatureNetworkName = "lite0"
IMPORTED_OUTPUTS: dict[FeatureNetworkName, Output] = {
    "inception": Output("inception", "pool3"),
    "dinov2": Output("dinov2", "cls"),
    "i3d": Output("i3d", "logits"),
}
"""What published files of statistics hold, by network."""
assert tuple(IMPORTED_OUTPUTS) == IMPORTABLE_STATISTICS, "what can be named can be read"
_NOT_GIVEN = "not given"
_BYTES_PER_FEATURE = 4
_RECORD_BYTES = 300_000

Networks = Mapping[str, Mapping[str, FileConfig]]
References = Mapping[str, Mapping[str, FileConfig]]


@dataclass(frozen=True)
class MeasuringFiles:
    """The files that a sweep names for measuring; planning reads their checksums alone."""

    networks: Networks
    """Network -> role -> file."""
    references: References
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


def reference_task(config: ExperimentConfig, network: FeatureNetworkName, files: MeasuringFiles) -> Task:
    """Moments of real images on one network, and features of some; or those of a file that somebody else made."""
    data, card = config.data.dataset, card_of(config.data)
    num_kept = min(card.num_reference_images, KEPT_REFERENCE_IMAGES)
    widths = FEATURE_NETWORKS[network].outputs.values()
    num_bytes = sum(width * (2 * width + num_kept) for width in widths) * _BYTES_PER_FEATURE
    imported = files.imported(data, network)
    payload = {
        "kind": "reference",
        "data": real_identity(config.data) if imported is None else data,
        **files.identity(network),
        "numerics": NUMERICS_VERSION,
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


def probe_task(config: ExperimentConfig, files: MeasuringFiles) -> Task:
    """A linear probe of the classes, fitted on features of all training images."""
    card = card_of(config.data)
    payload = {
        "kind": "probe",
        "data": real_identity(config.data),
        **files.identity(PROBE_NETWORK),
        "numerics": NUMERICS_VERSION,
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
class Measures:
    """What the evaluations of a config are held against."""

    files: MeasuringFiles
    references: Mapping[FeatureNetworkName, Task]
    probe: Task | None
    floor: Task | None

    @classmethod
    def of(cls, config: ExperimentConfig, files: MeasuringFiles) -> Measures:
        metrics = asked(config.evaluation)
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
    files: MeasuringFiles,
) -> Task | None:
    """Real images in the place of samples: what a perfect model would score at this number of them.

    Training images stand against the reference images; what reads no reference is measured on the reference images,
    which the label probe has not seen. None if the data has no images apart, or the statistics are imported.
    """
    card, evaluation = card_of(config.data), config.evaluation
    compared = tuple(m for m in asked(evaluation) if _has_images(METRICS[m].reference, references))
    alone = tuple(m for m in asked(evaluation) if METRICS[m].reference is None)
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
        "numerics": NUMERICS_VERSION,
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


def evaluate_task(
    config: ExperimentConfig,
    title: str,
    step: int,
    snapshots: tuple[SnapshotRef, ...],
    measures: Measures,
) -> Task:
    """What one sampling setting gives on one snapshot, or on one for each stage."""
    evaluation, metrics = config.evaluation, asked(config.evaluation)
    references, files, floor = measures.references, measures.files, measures.floor
    sampling = sampling_payload(config)
    source = Source(
        digest=digest_of(
            {
                "kind": "generated",
                "snapshots": [list(snapshot) for snapshot in snapshots],
                "sampling": sampling,
                "label_sampling": evaluation.label_sampling,
                "seed": evaluation.seed,
                "numerics": NUMERICS_VERSION,
            }
        ),
        num_samples=evaluation.num_samples,
        networks=files.looked_at_by(networks_of(metrics)),
        metrics=metrics,
    )
    used = {network: references[network].digest for network in references_of(metrics)}
    probe_digest = measures.probe.digest if measures.probe is not None else ""
    payload = {
        "kind": "evaluate",
        "snapshots": [list(snapshot) for snapshot in snapshots],
        "references": used,
        "probe": probe_digest,
        "networks": {network: files.identity(network) for network in networks_of(metrics)},
        "sampling": sampling,
        "evaluation": {
            **_evaluation_payload(evaluation, metrics),
            "num_samples": evaluation.num_samples,
            "label_sampling": evaluation.label_sampling,
        },
        "numerics": NUMERICS_VERSION,
    }
    protocols = {
        metric: _protocol(
            metric, config, files, references, evaluation.num_samples, evaluation.label_sampling, probe_digest
        )
        for metric in metrics
    }
    cost = model_cost(config, card_of(config.data).shape)
    return Task(
        "evaluate",
        digest_of(payload),
        title,
        payload,
        (*(train for train, _ in snapshots), *used.values(), *([probe_digest] if probe_digest else [])),
        config,
        flops=sampling_flops(config, cost, evaluation.num_samples),
        num_bytes=_RECORD_BYTES + source_bytes(source),
        snapshots=snapshots,
        at_step=step,
        sources=(source,),
        references=used,
        probe=probe_digest,
        floor=floor.digest if floor is not None else "",
        protocols=protocols,
    )


def images_task(config: ExperimentConfig, measures: Measures, content: str) -> Task:
    """Images that no sweep made, measured as its samples are.

    Args: config: its evaluation has as many samples as there are images. content: digest of the images.
    """
    evaluation, metrics = config.evaluation, asked(config.evaluation)
    networks = networks_of(metrics)
    source = Source(content, evaluation.num_samples, measures.files.looked_at_by(networks), OUTSIDE, metrics)
    used = {network: measures.references[network].digest for network in references_of(metrics)}
    probe = measures.probe.digest if measures.probe is not None else ""
    payload = {
        "kind": "images",
        "content": content,
        "references": used,
        "probe": probe,
        "networks": {network: measures.files.identity(network) for network in networks},
        "evaluation": _evaluation_payload(evaluation, metrics),
        "numerics": NUMERICS_VERSION,
    }
    count, labels = evaluation.num_samples, "of the images"
    protocols = {
        metric: _protocol(metric, config, measures.files, measures.references, count, labels, probe, sampled=False)
        for metric in metrics
    }
    return Task(
        "images",
        digest_of(payload),
        f"{count:,} {card_of(config.data).kind}",
        payload,
        (*used.values(), *([probe] if probe else [])),
        config,
        flops=0,
        num_bytes=_RECORD_BYTES + source_bytes(source),
        sources=(source,),
        references=used,
        probe=probe,
        protocols=protocols,
    )


def asked(evaluation: EvaluationConfig) -> tuple[MetricName, ...]:
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
    return sampling


def real_source(
    config: ExperimentConfig,
    split: str,
    num_images: int,
    networks: Mapping[FeatureNetworkName, str],
    metrics: tuple[MetricName, ...] = (),
) -> Source:
    """The first images of a split."""
    payload = {"kind": "real", "data": real_identity(config.data), "split": split, "numerics": NUMERICS_VERSION}
    return Source(digest_of(payload), num_images, networks, split, metrics)


def source_bytes(source: Source) -> int:
    """What the features of its samples take."""
    widths = (sum(FEATURE_NETWORKS[network].outputs.values()) for network in source.networks)
    return sum(widths) * source.num_samples * _BYTES_PER_FEATURE


def _has_images(network: FeatureNetworkName | None, references: Mapping[FeatureNetworkName, Task]) -> bool:
    """Whether a metric is compared with real images of ours."""
    return network is not None and bool(references[network].sources)


def _evaluation_payload(evaluation: EvaluationConfig, metrics: Iterable[MetricName]) -> dict[str, Any]:
    """The settings that the metrics read; the seed draws subsets and resamplings too."""
    names = sorted(set(metrics))
    own = {key: getattr(evaluation, key) for key in settings_of(names)}
    return {
        "metrics": names,
        "seed": evaluation.seed,
        "bootstrap_replicates": evaluation.bootstrap_replicates,
        **own,
    }


def _protocol(
    metric: MetricName,
    config: ExperimentConfig,
    files: MeasuringFiles,
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
