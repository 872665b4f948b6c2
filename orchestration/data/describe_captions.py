"""Settings of captioned images that do not fit together, and what planning has to know of the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.config import DataConfig
from dfm_core.config.data import CaptionsDescription
from dfm_core.data.captions.buckets import buckets_of
from orchestration.common.errors import known_names
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.data_mistakes import KeyProblem
from orchestration.data.describe_text_encoders import describe_text_encoders
from orchestration.data.identity import caption_bytes

_VALUE_BYTES = {"bf16": 2, "fp32": 4}
_PATCH = 2
"""Patches of the models that read captions, in positions of a latent."""
_OF_CLASSES = ("side", "frames", "stride", "mirrored")
_OF_CAPTIONS = ("sides", "side_shares", "text", "text_length")


def caption_problems(runtime: RuntimeConfig, data: DataConfig) -> Iterator[KeyProblem]:
    """Yield the settings of a data section that its files' labels do not allow, or need."""
    default, name = DataConfig(), data.dataset
    has_captions = runtime.datasets[name].has_captions
    for key in _OF_CLASSES if has_captions else _OF_CAPTIONS:
        if getattr(data, key) != getattr(default, key):
            message = f"is for images with classes, and {name}'s have captions; their sides are data.sides"
            other = f"is for images with captions, and {name}'s have classes: give it layout: captioned_folder"
            yield f"data.{key}", message if has_captions else other
    if not has_captions:
        if not data.side:
            yield "data.side", f"is needed: the side in pixels that {name}'s files are cropped to"
        return
    if not data.sides:
        yield "data.sides", f"is needed: the sides in pixels at which {name}'s images are used, such as [512, 1024]"
    if len(set(data.sides)) != len(data.sides):
        yield "data.sides", f"{list(data.sides)} has a side twice"
    if data.side_shares and len(data.side_shares) != len(data.sides):
        yield "data.side_shares", f"{len(data.side_shares)} shares for {len(data.sides)} sides: give one a side"
    if data.text and data.text not in runtime.text_encoders:
        known = known_names(data.text, runtime.text_encoders)
        yield "data.text", f"{data.text!r} is no name under text_encoders:{known}"


def describe_captions(
    runtime: RuntimeConfig, data: DataConfig, card: AutoencoderCard, num_captions: int, absent: dict[str, str]
) -> CaptionsDescription:
    """Return the facts of captions and their encoders.

    Args: num_captions: at most, those of the reference included. absent: receives, by key, why files that are not there
        yet cannot be used.
    Raises: ValueError if a side or the encoders' files do not fit; errors of the storage.
    """
    token_pixels = _PATCH * card.spatial_factor
    for side in data.sides:
        buckets_of(side, token_pixels)
    if not data.text:
        return CaptionsDescription(token_pixels)
    config = runtime.text_encoders[data.text]
    own = describe_text_encoders(data.text, config, runtime.storage, absent)
    described = CaptionsDescription(
        token_pixels,
        own.identity,
        own.token_width,
        own.pooled_width,
        _VALUE_BYTES[config.precision],
        own.token_weights,
    )
    stored = num_captions * caption_bytes(described, data.text_length, in_workers=False)
    return replace(described, in_workers=stored > 1e9 * config.store_gb)


def storage_text(name: str, data: DataConfig, num_captions: int, store_gb: float) -> str:
    """Return how captions are stored, and why so, in words. Args: name: of the dataset."""
    captions = data.described and data.described.captions
    assert captions, f"{name} has captions"
    gb = num_captions * caption_bytes(captions, data.text_length, in_workers=False) / 1e9
    limit = f"text_encoders.{data.text}.store_gb = {store_gb:g}"
    what = f"{name}: encodings of {num_captions:,} captions by {data.text} are at most {_gigabytes(gb)}"
    if not captions.in_workers:
        return f"{what}, no more than {limit}: they are stored."
    tokens = num_captions * caption_bytes(captions, data.text_length, in_workers=True) / 1e9
    memory = captions.encoder_bytes / 1e9
    return (
        f"{what}, more than {limit}: tokens are stored, {_gigabytes(tokens)}, and T5 runs in each worker and "
        f"evaluator, {_gigabytes(memory)} of memory."
    )


def _gigabytes(number: float) -> str:
    return f"{number:,.0f} GB" if number >= 100 else f"{number:.2g} GB"
