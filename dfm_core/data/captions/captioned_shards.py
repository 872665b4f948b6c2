"""Captioned images in shards: tars with `key.jpg` beside `key.txt` or `key.json`, tables with a column of captions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dfm_core.data.captions.caption import (
    CAPTION_KEY,
    CAPTIONED,
    MAX_CAPTION_BYTES,
    caption_in_json,
    caption_in_text,
    caption_in_value,
    caption_number,
)
from dfm_core.data.files.image_shards import ImageShards, open_shards
from dfm_core.data.files.raw_samples import DataFiles
from dfm_core.data.files.sample_labels import Label, LabelFault, UnusableLabelError

_TEXT, _JSON = "txt", "json"


@dataclass(frozen=True)
class CaptionLabels:
    """Numbers of captions: `SampleLabels`. Of `key.txt` and `key.json` the first is the caption."""

    column: str = CAPTION_KEY
    """Column of a table; key of a `.json`."""
    fault: LabelFault = "no caption"
    member_kinds: Mapping[str, int] = field(
        default_factory=lambda: {_TEXT: MAX_CAPTION_BYTES, _JSON: MAX_CAPTION_BYTES}
    )

    def of_members(self, contents: Mapping[str, bytes]) -> Label:
        if _TEXT in contents:
            return _label(caption_in_text(contents[_TEXT]))
        if _JSON in contents:
            return _label(caption_in_json(contents[_JSON], self.column))
        raise UnusableLabelError(f"has no .{_TEXT} or .{_JSON} of at most {MAX_CAPTION_BYTES} bytes beside it")

    def of_value(self, value: object) -> Label:
        return _label(caption_in_value(value))


def open_captioned_shards(files: DataFiles, caption_key: str = CAPTION_KEY) -> ImageShards:
    """Open every tar, Parquet and Arrow file in a place.

    Args: caption_key: column of the captions in tables, and their key in the `.json` of tars.
    Raises: ValueError if there is no shard; what `files` does.
    """
    labels = CaptionLabels(caption_key)
    return open_shards(files, CAPTIONED, lambda _: labels, ("captions", caption_key))


def _label(caption: str) -> Label:
    return Label(caption_number(caption), caption)
