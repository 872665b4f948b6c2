"""Identity of a task's data, as its digest sees it: embedded images by their file, the user's by their encoding."""

from __future__ import annotations

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from dfm_core.catalog.datasets import DATASETS, DataShape
from dfm_core.catalog.weight_files import file_sha256
from dfm_core.config import DataConfig
from dfm_core.config.data import CaptionsDescription, DataDescription
from dfm_core.config.experiment import NUMERICS_CHANGED_IN
from dfm_core.config.plain import as_plain
from orchestration.common.digests import digest_of

PIXELS = "pixels"
"""Encoder of latents that are the pixels themselves."""
_SHARD_BYTES = 64_000_000
_MOST_SHARD_SAMPLES = 1024
_LATENT_BYTES = 4
"""Bytes of each value: mean and standard deviation in bf16."""
_PIXEL_BYTES = 2
_COLOURS = 3
TOKENS_KEPT = "tokens"
_TOKEN_BYTES = 4
_USUAL_TEXT_WIDTHS = 4096, 768
"""T5's and CLIP's of FLUX, for encoders that are not there yet."""


@cache
def fingerprint_of(path: Path | None) -> str:
    """Return the checksum of embedded data, read once per process; data that is absent can be planned, not used."""
    return "absent" if path is None else file_sha256(path)


def absent_identity(place: str) -> str:
    """Return the identity of files that are not there yet: it can be planned with, not used."""
    return f"absent: {place}"


def is_embedded(data: DataConfig) -> bool:
    """Return whether its images are part of the repository, or named in the catalog."""
    return data.dataset in DATASETS


@cache
def latents_payload(data: DataConfig) -> dict[str, Any] | None:
    """Return all that decides the latents that a training reads; None: it reads embedded images."""
    described = data.described
    if described is None:
        return None
    if described.captions is not None:
        per_shard = _per_shard(latents_bytes(data, described))
        return _captioned_payload(described.fingerprint, described.encoder, described.captions, data.sides, per_shard)
    payload = _payload(described.fingerprint, described.encoder, data)
    payload["samples_per_shard"] = _per_shard(latents_bytes(data, described))
    return payload | {"mirrored": data.mirrored}


@cache
def pixels_payload(data: DataConfig) -> dict[str, Any] | None:
    """Return all that decides the real images that samples are measured against; None: they are embedded."""
    described = data.described
    if described is None or is_embedded(data):
        return None
    per_shard = _per_shard(pixels_bytes(data))
    if (captions := described.captions) is not None:
        largest = (max(data.sides),)
        return _captioned_payload(described.reference_fingerprint, PIXELS, captions, largest, per_shard)
    return _payload(described.reference_fingerprint, PIXELS, data) | {"samples_per_shard": per_shard, "mirrored": False}


def latents_digest(data: DataConfig) -> str:
    """Return the digest of the task that makes a training's latents; "" if it reads embedded images."""
    payload = latents_payload(data)
    return digest_of(payload) if payload is not None else ""


def pixels_digest(data: DataConfig) -> str:
    """Return the digest of the task that stores the real images for measuring; "" if they are embedded."""
    payload = pixels_payload(data)
    return digest_of(payload) if payload is not None else ""


@cache
def texts_payload(data: DataConfig) -> dict[str, Any] | None:
    """Return all that decides the encodings of the captions of a dataset, its reference's too; None: it has none.

    Which images have captions the sides decide, below which they are left out, and no autoencoder.
    """
    described = data.described
    if described is None or described.captions is None or not described.captions.encoders:
        return None
    return {
        "kind": "encode_text",
        "fingerprints": [described.fingerprint, described.reference_fingerprint],
        "sides": sorted(data.sides),
        "token_pixels": described.captions.token_pixels,
        "encoders": described.captions.encoders,
        "length": data.text_length,
        "numerics": NUMERICS_CHANGED_IN["encode"],
    }


def texts_digest(data: DataConfig) -> str:
    """Return the digest of the encodings of the captions of a dataset, wherever they are made; "" if it has none."""
    payload = texts_payload(data)
    return digest_of(payload) if payload is not None else ""


@cache
def stored_texts_payload(data: DataConfig) -> dict[str, Any] | None:
    """Return all that decides what is stored of the captions: their encodings, or tokens that readers encode."""
    payload = texts_payload(data)
    if payload is None or not (data.described and data.described.captions and data.described.captions.in_workers):
        return payload
    return {**payload, "kept": TOKENS_KEPT}


def stored_texts_digest(data: DataConfig) -> str:
    """Return the digest of the task that stores a dataset's captions; "" if it has none."""
    payload = stored_texts_payload(data)
    return digest_of(payload) if payload is not None else ""


def training_identity(data: DataConfig) -> dict[str, Any]:
    """Return the identity of a training's data: the images, or latents in the order that their shards allow."""
    if latents := latents_digest(data):
        shared = {"latents": latents, "window_shards": data.window_shards}
        if texts := texts_digest(data):
            total = sum(data.step_shares.values())
            shares = {str(side): share / total for side, share in sorted(data.step_shares.items())}
            return shared | {"texts": texts, "shares": shares}
        return shared
    return real_identity(data)


def real_identity(data: DataConfig) -> dict[str, Any]:
    """Return name, content and shape of embedded real images; for the user's files the task that stores them."""
    if pixels := pixels_digest(data):
        return {"pixels": pixels}
    card = DATASETS[data.dataset]
    clips = {} if card.motion is None else {"frames": card.frames, "motion": as_plain(card.motion)}
    fingerprint = fingerprint_of(card.path)
    return {"dataset": data.dataset, "fingerprint": fingerprint, "resolution": card.resolution, **clips}


def latents_bytes(data: DataConfig, described: DataDescription) -> int:
    """Return the size of the latents of one file, with its flip if that is wanted, at every side."""
    values = prod(
        DataShape(described.channels, 1, described.latent_frames).of_scale(described.channels, described.resolution)
    )
    values = sum(values * side**2 // max(data.sides) ** 2 for side in data.sides) or values
    return values * (2 if data.mirrored else 1) * (_PIXEL_BYTES if described.encoder == PIXELS else _LATENT_BYTES)


def caption_bytes(captions: CaptionsDescription, text_length: int, *, in_workers: bool) -> int:
    """Return the size of one caption in a store. Args: in_workers: of its tokens instead of their encodings."""
    tokens, pooled = captions.token_width, captions.pooled_width
    if not tokens:
        tokens, pooled = _USUAL_TEXT_WIDTHS
    of_tokens = _TOKEN_BYTES if in_workers else captions.value_bytes * tokens
    return text_length * of_tokens + captions.value_bytes * pooled


def pixels_bytes(data: DataConfig) -> int:
    """Return the size of one of the user's files as pixels."""
    return _PIXEL_BYTES * _COLOURS * max(1, data.frames) * max(data.sides, default=data.side) ** 2


def _per_shard(sample_bytes: int) -> int:
    """Return the number of files that become one shard, of about 64 MB."""
    return min(_MOST_SHARD_SAMPLES, max(1, _SHARD_BYTES // sample_bytes))


def _captioned_payload(
    fingerprint: str,
    encoder: str,
    captions: CaptionsDescription,
    sides: tuple[int, ...],
    samples_per_shard: int,
) -> dict[str, Any]:
    # The factor of the autoencoder decides the shapes, also of the real images that are kept as pixels.
    return {
        "kind": "encode_captioned",
        "fingerprint": fingerprint,
        "encoder": encoder,
        "sides": sorted(sides),
        "token_pixels": captions.token_pixels,
        "samples_per_shard": samples_per_shard,
        "numerics": NUMERICS_CHANGED_IN["encode"],
    }


def _payload(fingerprint: str, encoder: str, data: DataConfig) -> dict[str, Any]:
    return {
        "kind": "encode",
        "fingerprint": fingerprint,
        "encoder": encoder,
        "side": data.side,
        "frames": data.frames,
        "stride": data.stride if data.frames else 1,
        "numerics": NUMERICS_CHANGED_IN["encode"],
    }
