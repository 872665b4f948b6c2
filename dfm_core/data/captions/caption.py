"""A caption as a label, and captions out of the files that hold them.

Its number is a hash of its text, so it is known wherever the text is, whatever else a dataset holds: two datasets share
the encodings of the captions that they share. Of a million captions, two share a number with a probability of 5e-8.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata

from dfm_core.data.files.sample_labels import UnusableLabelError

MAX_CAPTION_BYTES = 1 << 20
"""Largest file that is read as one caption, or as its JSON."""
CAPTIONED = ("captioned images",)
"""In the place of the names of classes: a caption is the label of each."""
CAPTION_KEY = "caption"
"""Key of a JSON file, and column of a table, unless the user names another."""


def plain_caption(text: str) -> str:
    """Return a caption as it is encoded: NFC, with single spaces; the tokenizers see no other difference."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def caption_number(text: str) -> int:
    """Return the label of a caption, in 0..2**63 - 1: the first 63 bits of the sha256 of its text in UTF-8.

    The number of "" is the label that stands for no caption, in the place of a null class.
    """
    return int.from_bytes(hashlib.sha256(plain_caption(text).encode()).digest()[:8]) >> 1


def caption_in_text(content: bytes) -> str:
    """Return the caption that a `.txt` file holds. Raises: UnusableLabelError."""
    try:
        return _not_empty(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UnusableLabelError(f"has a caption that is not UTF-8 (byte {error.start})") from None


def caption_in_json(content: bytes, key: str) -> str:
    """Return the caption that a `.json` file holds under a key. Raises: UnusableLabelError."""
    try:
        document = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UnusableLabelError(f"has a .json that cannot be read ({' '.join(str(error).split())[:80]})") from None
    if not isinstance(document, dict) or key not in document:
        keys = ", ".join(map(repr, list(document)[:5])) if isinstance(document, dict) else "no object"
        raise UnusableLabelError(f"has a .json without {key!r} (it has {keys or 'no keys'})")
    return caption_in_value(document[key])


def caption_in_value(value: object) -> str:
    """Return the caption that a value of a table or JSON document is. Raises: UnusableLabelError."""
    if not isinstance(value, str):
        raise UnusableLabelError(f"has a caption that is no text ({type(value).__name__})")
    try:
        value.encode()
    except UnicodeEncodeError:  # "\\ud800" in JSON
        raise UnusableLabelError("has a caption with half a surrogate pair, which is no text") from None
    return _not_empty(value)


def _not_empty(text: str) -> str:
    if not (plain := plain_caption(text)):
        raise UnusableLabelError("has an empty caption")
    return plain
