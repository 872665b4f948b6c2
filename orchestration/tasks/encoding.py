"""Builders of the tasks that make latents out of files, keep real images as pixels, and train autoencoders."""

from __future__ import annotations

from dataclasses import replace

from dfm_core.config import ExperimentConfig
from dfm_core.config.data import IN_BF16
from orchestration.common.digests import digest_of
from orchestration.data.autoencoder_recipe import AutoencoderRecipe, AutoencoderRecipes, recipe_digest
from orchestration.data.identity import (
    PIXELS,
    caption_bytes,
    latents_bytes,
    latents_digest,
    latents_payload,
    pixels_bytes,
    pixels_digest,
    pixels_payload,
    stored_texts_payload,
)
from orchestration.tasks.task import EncodeTask, FinetuneAutoencoderTask, Task

_AUTOENCODER_BYTES = 350_000_000
"""Size of FLUX's autoencoder; smaller ones take less."""


def latents_task(config: ExperimentConfig) -> EncodeTask | None:
    """Return the task that makes the latents that the trainings of a config read; None: they read embedded images."""
    data, payload = config.data, latents_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    what = f"samples as {data.autoencoder or PIXELS}"
    return _encode_task(config, payload, what, data.described.num_samples, latents_bytes(data, data.described))


def pixels_task(config: ExperimentConfig) -> EncodeTask | None:
    """Return the task that keeps the real images that samples are measured against; None: they are embedded."""
    data, payload = config.data, pixels_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    return _encode_task(config, payload, "real samples", data.described.num_reference, pixels_bytes(data))


def texts_task(config: ExperimentConfig) -> EncodeTask | None:
    """Return the task that encodes the captions of a config's images; None: their labels are classes."""
    data, payload = config.data, stored_texts_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    assert data.described.captions is not None, "captions are encoded"
    captions, number = data.described.captions, data.described.num_samples + data.described.num_reference
    # Captions that occur twice are encoded once.
    num_bytes = number * caption_bytes(captions, data.text_length, in_workers=captions.in_workers)
    title = f"{data.title}, {'tokens of ' if captions.in_workers else ''}captions by {data.text}"
    inputs = latents_digest(data), pixels_digest(data)
    return EncodeTask(digest_of(payload), title, dict(payload), inputs, config, num_bytes, number)


def _encode_task(
    config: ExperimentConfig, payload: dict[str, object], what: str, num_samples: int, bytes_per_sample: int
) -> EncodeTask:
    inputs = tuple(filter(None, [recipe_digest(str(payload["encoder"]))]))
    title, num_bytes = f"{config.data.title}, {num_samples:,} {what}", num_samples * bytes_per_sample
    return EncodeTask(digest_of(payload), title, dict(payload), inputs, config, num_bytes, num_samples)


def autoencoder_tasks(config: ExperimentConfig, recipes: AutoencoderRecipes) -> list[Task]:
    """Return all that has to be made before the data of a config can be encoded, inputs before their readers."""
    described = config.data.described
    recipe = recipes.get(described.encoder.removesuffix(IN_BF16)) if described is not None else None
    return [] if recipe is None else _recipe_tasks(recipe, recipes)


def _recipe_tasks(recipe: AutoencoderRecipe, recipes: AutoencoderRecipes) -> list[Task]:
    before = recipes.get(recipe.initial.identity)
    config = replace(ExperimentConfig(), data=recipe.data)
    files = [task for task in (latents_task(config), pixels_task(config)) if task is not None]
    inputs = [*files, *(_recipe_tasks(before, recipes) if before is not None else [])]
    needed = [task.digest for task in files] + ([before.digest] if before is not None else [])
    how = "random weights" if recipe.initial.architecture is not None else "fine-tuned"
    regular = ", scale-equivariant" if recipe.training.scale_equivariance else ""
    task = FinetuneAutoencoderTask(
        recipe.digest,
        f"{recipe.name}, {how}{regular}",
        recipe.payload,
        tuple(needed),
        config,
        num_bytes=_AUTOENCODER_BYTES,
        until_step=recipe.training.steps,
        recipe=recipe,
    )
    return [*inputs, task]
