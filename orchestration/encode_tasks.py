"""The tasks that make latents out of files, and keep real images as pixels."""

from __future__ import annotations

from math import prod

from dfm_core.config import ExperimentConfig
from dfm_core.data.cards import card_of
from orchestration.data_identity import PIXELS, latents_payload, pixels_payload
from orchestration.digests import digest_of
from orchestration.tasks import Task

_PIXEL_BYTES, _LATENT_BYTES = 2, 4
_COLOURS = 3


def latents_task(config: ExperimentConfig) -> Task | None:
    """The latents that the trainings of a config read; None: they read embedded images."""
    data, payload = config.data, latents_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    card, num_samples = card_of(data), data.described.num_samples
    values = prod(card.shape.of_scale(card.channels, card.resolution)) * (2 if data.mirrored else 1)
    per_value = _PIXEL_BYTES if payload["encoder"] == PIXELS else _LATENT_BYTES
    title = f"{data.dataset}, {num_samples:,} samples as {data.autoencoder or PIXELS}"
    return _task(config, payload, title, num_samples, num_samples * values * per_value)


def pixels_task(config: ExperimentConfig) -> Task | None:
    """The real images that samples of a config are measured against; None: they are embedded."""
    data, payload = config.data, pixels_payload(config.data)
    if payload is None:
        return None
    assert data.described is not None, "what is encoded was described"
    num_samples = data.described.num_reference
    num_bytes = num_samples * _COLOURS * max(1, data.frames) * data.side**2 * _PIXEL_BYTES
    return _task(config, payload, f"{data.dataset}, {num_samples:,} real samples", num_samples, num_bytes)


def _task(config: ExperimentConfig, payload: dict[str, object], title: str, num_samples: int, num_bytes: int) -> Task:
    return Task(
        "encode",
        digest_of(payload),
        title,
        dict(payload),
        (),
        config,
        flops=0,
        num_bytes=num_bytes,
        num_samples=num_samples,
    )
