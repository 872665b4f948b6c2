"""The forms in which a library may print a secret: quoted for URLs, escaped by repr, JSON or HTML, in base64."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

_LONG = 8  # characters; a shorter secret may be a part of any word
_WORD_BEGINS = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt])|(?<=\\x[0-9A-Fa-f]{2}))"
_RUN_BEGINS = r"(?<!(?<![A-Za-z0-9])\\)"
"""Beginning of a run of backslashes: a search from each of them would take time with the square of their number."""
_LEAST_BASE64 = 6  # characters that a secret alone decides; fewer may stand in any digest


def pattern_of(secrets: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds all forms of some secrets, the longest first; of none, it finds nothing."""
    return _pattern(
        tuple(sorted({secret for secret in secrets if secret.strip()}, key=lambda secret: (-len(secret), secret)))
    )


@lru_cache(maxsize=16)
def _pattern(ordered: tuple[str, ...]) -> re.Pattern[str]:
    forms = [_whole(secret) for secret in ordered]
    forms += [rf"[\w+/-]{{0,2}}{core}[\w+/=-]*" for secret in ordered for core in _base64(secret)]
    return re.compile("|".join(forms) or r"(?!)")


def _whole(secret: str) -> str:
    """Return a pattern of a secret in all forms of its characters; a short one has to be a word of its own."""
    first, *others = re.findall(r"\s+|\S", secret.strip())
    pieces = _piece(first, _RUN_BEGINS) + "".join(map(_piece, others))
    return f"{_WORD_BEGINS}{pieces}(?![A-Za-z0-9])" if len(secret) < _LONG else pieces


def _piece(character: str, begin: str = "") -> str:
    """Return a pattern of a character in all of its forms, of which letters and digits have one, or of some space.

    Args: begin: pattern before a run of backslashes.
    """
    if character.isspace():
        return r"(?:[\s+]|%(?:25)*(?:20|0[9aAdD])|\\+(?:[nrt]|(?:x|u00)(?:20|0[9aAdD])))+"
    if character.isascii() and character.isalnum():
        return character
    code, octets = ord(character), character.encode(errors="surrogatepass")
    forms = [
        rf"{begin}\\*{re.escape(character)}",
        "".join(f"%(?:25)*(?i:{octet:02x})" for octet in octets),
        rf"{begin}\\+(?i:" + "".join(rf"\\*x{octet:02x}" for octet in octets)[3:] + ")",
        rf"{begin}\\+(?i:x{code:02x}|u{code:04x}|U{code:08x})",
        rf"&(?i:#0*{code}|#x0*{code:x}|{html.escape(character)[1:-1] or 'amp'});",
    ]
    if code > 0xFFFF:  # JSON writes two halves
        high, low = divmod(code - 0x10000, 0x400)
        forms.append(rf"{begin}\\+(?i:u{0xD800 + high:04x})\\+(?i:u{0xDC00 + low:04x})")
    return f"(?:{'|'.join(forms)})"


def _base64(secret: str) -> Iterator[str]:
    """Yield what a secret decides of its base64, alone or after other bytes such as those of a user's name and ":"."""
    content = secret.encode(errors="surrogatepass")
    for num_before in range(3):
        text = base64.b64encode(b"\0" * num_before + content).decode()
        core = text[(num_before * 8 + 5) // 6 : (num_before + len(content)) * 8 // 6]
        if len(core) >= _LEAST_BASE64:
            yield "".join({"+": "[+-]", "/": "[/_]"}.get(character, character) for character in core)
