"""Line breaks of long labels: between words and after separators, never inside a number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

_SEPARATOR = r"(?<=[_/=;|])(?=\w)|(?<=[,:.])(?<!\d[,:.])(?=\w)|(?<=[,:.])(?=[^\W\d])"
_BREAK = re.compile(rf"{_SEPARATOR}|(?<=\s)(?=\S)")


def split_label(text: str) -> list[str]:
    """Split a text into pieces that stay whole; joined they are the text."""
    return _BREAK.split(text)


def breakable(text: str) -> Markup:
    """Escape a text for HTML, with places to break besides its spaces."""
    return Markup("<wbr>").join(map(escape, re.split(_SEPARATOR, text)))


def wrap_text(text: str, width: int) -> Iterator[str]:
    """Wrap a text into lines of at most `width` characters; a longer piece has a line of its own."""
    line = ""
    for piece in split_label(text):
        if line and len(line) + len(piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece
    yield line.rstrip()
