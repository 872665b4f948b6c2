"""Settings of captioned images that do not fit together, and what planning has to know of the rest."""

from __future__ import annotations

from collections.abc import Iterator

from dfm_core.catalog.autoencoders import AutoencoderCard
from dfm_core.config import DataConfig
from dfm_core.config.data import CaptionsDescription
from dfm_core.data.captions.buckets import buckets_of
from orchestration.common.errors import known_names
from orchestration.config.runtime import RuntimeConfig
from orchestration.data.describe_autoencoders import KeyProblem
from orchestration.data.describe_text_encoders import describe_text_encoders

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
    runtime: RuntimeConfig, data: DataConfig, card: AutoencoderCard, absent: dict[str, str]
) -> CaptionsDescription:
    """Return the facts of captions and their encoders.

    Args: absent: receives, by key, why files that are not there yet cannot be used.
    Raises: ValueError if a side or the encoders' files do not fit; errors of the storage.
    """
    token_pixels = _PATCH * card.spatial_factor
    for side in data.sides:
        buckets_of(side, token_pixels)
    if not data.text:
        return CaptionsDescription(token_pixels)
    own = describe_text_encoders(data.text, runtime.text_encoders[data.text], runtime, absent)
    return CaptionsDescription(token_pixels, own.identity, own.token_width, own.pooled_width)
