"""Where a long label may go on in the next line: between its words and after its separators, never inside a number."""

from __future__ import annotations

import re
from collections.abc import Iterator

from markupsafe import Markup, escape

_SEPARATOR = r"(?<=[_/=;|])(?=\w)|(?<=[,:.])(?<!\d[,:.])(?=\w)|(?<=[,:.])(?=[^\W\d])"
_BREAK = re.compile(rf"{_SEPARATOR}|(?<=\s)(?=\S)")


def pieces(text: str) -> list[str]:
    """A text in parts that stay whole; joined they are the text."""
    return _BREAK.split(text)


def breakable(text: str) -> Markup:
    """A text for HTML, with places to break besides its spaces."""
    return Markup("<wbr>").join(map(escape, re.split(_SEPARATOR, text)))


def wrapped(text: str, width: int) -> Iterator[str]:
    """A text in lines of at most `width` characters; a part that is longer has a line of its own."""
    line = ""
    for piece in pieces(text):
        if line and len(line) + len(piece.rstrip()) > width:
            yield line.rstrip()
            line = ""
        line += piece
    yield line.rstrip()
