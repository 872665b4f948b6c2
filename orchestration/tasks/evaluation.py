"""Builders of the tasks that measure generated images: samples of snapshots, and images that no sweep made."""

from __future__ import annotations

from dataclasses import replace

from dfm_core.catalog.metrics import networks_of
from dfm_core.compute import model_cost, sampling_flops
from dfm_core.config import ExperimentConfig
from dfm_core.config.dataset_card import card_of
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from orchestration.common.digests import digest_of
from orchestration.data.identity import pixels_digest, stored_texts_digest, texts_digest
from orchestration.storage.layout import SnapshotRef
from orchestration.tasks.measurement import measured_metrics, sampling_payload
from orchestration.tasks.metric_task import MeasurementInputs, metric_task
from orchestration.tasks.task import EXTERNAL, EvaluateTask, ImagesTask, Source


def evaluate_task(
    config: ExperimentConfig, title: str, step: int, snapshots: tuple[SnapshotRef, ...], inputs: MeasurementInputs
) -> EvaluateTask:
    """Return the task that measures one sampling setting on one snapshot, or on one for each stage."""
    evaluation, metrics = config.evaluation, measured_metrics(config.evaluation)
    generated = {
        "kind": "generated",
        "snapshots": [list(snapshot) for snapshot in snapshots],
        "sampling": sampling_payload(config),
        "label_sampling": evaluation.label_sampling,
        "seed": evaluation.seed,
        "numerics": NUMERICS_CHANGED_IN["generated"],
    }
    # Sample i of captioned images has the caption and the shape of test image i.
    conditions = [pixels_digest(config.data), texts_digest(config.data)] if config.data.sides else []
    read = [pixels_digest(config.data), stored_texts_digest(config.data)] if config.data.sides else []
    if conditions:
        generated |= {"conditions": conditions}
    networks = inputs.files.looked_at_by(networks_of(metrics))
    source = Source(digest_of(generated), evaluation.num_samples, networks, metrics=metrics)
    own = {"snapshots": generated["snapshots"], **({"conditions": conditions} if conditions else {})}
    task = metric_task(EvaluateTask, config, title, own, (source,), inputs, sampled=True)
    cost = model_cost(config, card_of(config.data).shape)
    return replace(
        task,
        inputs=(*(train for train, _ in snapshots), *filter(None, read), *task.inputs),
        flops=sampling_flops(config, cost, evaluation.num_samples),
        snapshots=snapshots,
        at_step=step,
        real_images=inputs.real_images.digest if inputs.real_images is not None else "",
    )


def images_task(config: ExperimentConfig, inputs: MeasurementInputs, content: str) -> ImagesTask:
    """Return the task that measures images that no sweep made as samples are.

    Args: config: its evaluation has as many samples as there are images. content: digest of the images.
    """
    metrics, count = measured_metrics(config.evaluation), config.evaluation.num_samples
    source = Source(content, count, inputs.files.looked_at_by(networks_of(metrics)), EXTERNAL, metrics)
    title = f"{count:,} {card_of(config.data).kind}"
    return metric_task(ImagesTask, config, title, {"content": content}, (source,), inputs)
