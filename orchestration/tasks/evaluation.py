"""The tasks that measure images: statistics of real ones, the label probe, the floor, and evaluations of snapshots.

What a number was measured with enters the digest and travels with the number as its protocol: feature network, weights,
preprocessing, reference set. Where files lie enters neither.
"""

from __future__ import annotations

from dfm_core.catalog.metrics import networks_of, references_of
from dfm_core.compute import model_cost, sampling_flops
from dfm_core.config import NUMERICS_CHANGED_IN, ExperimentConfig
from dfm_core.config.dataset_card import card_of
from orchestration.common.digests import digest_of
from orchestration.config.files import IMPORTABLE_STATISTICS
from orchestration.storage.layout import SnapshotRef
from orchestration.tasks.measurement import (
    _RECORD_BYTES,
    IMPORTED_OUTPUTS,
    _evaluation_payload,
    _protocol,
    measured_metrics,
    sampling_payload,
    source_bytes,
)
from orchestration.tasks.references import MeasurementInputs
from orchestration.tasks.task import EXTERNAL, Source, Task

assert tuple(IMPORTED_OUTPUTS) == IMPORTABLE_STATISTICS, "what can be named can be read"


def evaluate_task(
    config: ExperimentConfig,
    title: str,
    step: int,
    snapshots: tuple[SnapshotRef, ...],
    measures: MeasurementInputs,
) -> Task:
    """What one sampling setting gives on one snapshot, or on one for each stage."""
    evaluation, metrics = config.evaluation, measured_metrics(config.evaluation)
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
                "numerics": NUMERICS_CHANGED_IN["generated"],
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
        "numerics": NUMERICS_CHANGED_IN["evaluate"],
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


def images_task(config: ExperimentConfig, measures: MeasurementInputs, content: str) -> Task:
    """Images that no sweep made, measured as its samples are.

    Args: config: its evaluation has as many samples as there are images. content: digest of the images.
    """
    evaluation, metrics = config.evaluation, measured_metrics(config.evaluation)
    networks = networks_of(metrics)
    source = Source(content, evaluation.num_samples, measures.files.looked_at_by(networks), EXTERNAL, metrics)
    used = {network: measures.references[network].digest for network in references_of(metrics)}
    probe = measures.probe.digest if measures.probe is not None else ""
    payload = {
        "kind": "images",
        "content": content,
        "references": used,
        "probe": probe,
        "networks": {network: measures.files.identity(network) for network in networks},
        "evaluation": _evaluation_payload(evaluation, metrics),
        "numerics": NUMERICS_CHANGED_IN["images"],
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
