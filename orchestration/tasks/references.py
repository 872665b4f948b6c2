"""Builders of the tasks that an evaluation depends on: statistics of real images, and the label probe."""

from __future__ import annotations

from dfm_core.catalog.feature_networks import FEATURE_NETWORKS, FeatureNetworkName
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.evaluation_rules import MAX_REFERENCE_FEATURES
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from orchestration.common.digests import digest_of
from orchestration.data.identity import pixels_digest, real_identity
from orchestration.tasks.measurement import (
    BYTES_PER_FEATURE,
    PROBE_NETWORK,
    MeasurementFiles,
    real_source,
    source_bytes,
)
from orchestration.tasks.task import ProbeTask, ReferenceTask


def reference_task(config: ExperimentConfig, network: FeatureNetworkName, files: MeasurementFiles) -> ReferenceTask:
    """Return the task for moments of real images on one network, and features of some; or those of a given file."""
    data, card = config.data.dataset, card_of(config.data)
    num_kept = min(card.num_reference_images, MAX_REFERENCE_FEATURES)
    widths = FEATURE_NETWORKS[network].outputs.values()
    num_bytes = sum(width * (2 * width + num_kept) for width in widths) * BYTES_PER_FEATURE
    imported = files.references.get(data, {}).get(network)
    payload = {
        "kind": "reference",
        "data": real_identity(config.data) if imported is None else data,
        **files.identity(network),
        "numerics": NUMERICS_CHANGED_IN["reference"],
    }
    if imported is not None:
        payload["imported"] = imported.sha256.lower()
        title = f"{config.data.title} on {network}, imported"
        return ReferenceTask(digest_of(payload), title, payload, (), config, num_bytes, sources=())
    source = real_source(config, "reference", card.num_reference_images, files.looked_at_by([network]))
    return ReferenceTask(
        digest_of(payload),
        f"{config.data.title} on {network}, {card.num_reference_images:,} {card.kind}",
        payload,
        tuple(filter(None, [pixels_digest(config.data)])),
        config,
        num_bytes + source_bytes(source),
        sources=(source,),
    )


def probe_task(config: ExperimentConfig, files: MeasurementFiles) -> ProbeTask:
    """Return the task of a linear probe of the classes, fitted on features of all training images."""
    card = card_of(config.data)
    payload = {
        "kind": "probe",
        "data": real_identity(config.data),
        **files.identity(PROBE_NETWORK),
        "numerics": NUMERICS_CHANGED_IN["probe"],
    }
    source = real_source(config, "train", card.num_train_images, files.looked_at_by([PROBE_NETWORK]))
    title = f"classes of {config.data.title} from {card.num_train_images:,} {card.kind}"
    return ProbeTask(digest_of(payload), title, payload, (), config, source_bytes(source), sources=(source,))
