"""The tasks that make latents out of files, and keep real images as pixels."""

from __future__ import annotations

from dataclasses import replace

from dfm_core.config import ExperimentConfig
from orchestration.common.digests import digest_of
from orchestration.data.autoencoder_recipe import AutoencoderRecipe, AutoencoderRecipes, recipe_digest
from orchestration.data.identity import PIXELS, latents_bytes, latents_payload, pixels_bytes, pixels_payload
from orchestration.tasks.task import Task

_AUTOENCODER_BYTES = 350_000_000
"""Of FLUX's; smaller ones take less."""


def latents_task(config: ExperimentConfig) -> Task | None:
    """The latents that the trainings of a config read; None: they read embedded images."""
    data, payload = config.data, latents_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    num_samples = data.described.num_samples
    title = f"{data.dataset}, {num_samples:,} samples as {data.autoencoder or PIXELS}"
    return _task(config, payload, title, num_samples, num_samples * latents_bytes(data, data.described))


def pixels_task(config: ExperimentConfig) -> Task | None:
    """The real images that samples of a config are measured against; None: they are embedded."""
    data, payload = config.data, pixels_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    num_samples = data.described.num_reference
    title = f"{data.dataset}, {num_samples:,} real samples"
    return _task(config, payload, title, num_samples, num_samples * pixels_bytes(data))


def _task(config: ExperimentConfig, payload: dict[str, object], title: str, num_samples: int, num_bytes: int) -> Task:
    return Task(
        "encode",
        digest_of(payload),
        title,
        dict(payload),
        tuple(filter(None, [recipe_digest(str(payload["encoder"]))])),
        config,
        flops=0,
        num_bytes=num_bytes,
        num_samples=num_samples,
    )


def autoencoder_tasks(config: ExperimentConfig, makings: AutoencoderRecipes) -> list[Task]:
    """What has to be made before the data of a config can be encoded, inputs before their readers."""
    described = config.data.described
    making = makings.get(described.encoder) if described is not None else None
    return [] if making is None else _tasks_of_recipe(making, makings)


def _tasks_of_recipe(making: AutoencoderRecipe, makings: AutoencoderRecipes) -> list[Task]:
    before = makings.get(making.initial.identity)
    config = replace(ExperimentConfig(), data=making.data)
    files = [task for task in (latents_task(config), pixels_task(config)) if task is not None]
    inputs = [*files, *(_tasks_of_recipe(before, makings) if before is not None else [])]
    needed = [task.digest for task in files] + ([before.digest] if before is not None else [])
    training = making.training
    how = "random weights" if making.initial.architecture is not None else "fine-tuned"
    regular = ", scale-equivariant" if training.scale_equivariance else ""
    task = Task(
        "finetune_autoencoder",
        making.digest,
        f"{making.name}, {how}{regular}",
        making.payload,
        tuple(needed),
        config,
        flops=0,
        num_bytes=_AUTOENCODER_BYTES,
        until_step=training.steps,
        making=making,
    )
    return [*inputs, task]
