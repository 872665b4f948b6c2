"""Texts in ASCII, for interfaces that take nothing else: "p₀ 0.7, τ 0.9" is "p0 0.7, tau 0.9"."""

from __future__ import annotations

import unicodedata


def ascii_text(text: str) -> str:
    """Return the text in ASCII: indices as digits, Greek letters by name, accents left out, other signs as "?"."""
    return "".join(_in_ascii(sign) for sign in unicodedata.normalize("NFKD", text))


def _in_ascii(sign: str) -> str:
    if sign.isascii():
        return sign
    if unicodedata.combining(sign):
        return ""
    name = unicodedata.name(sign, "")
    greek = name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3
    return name.rpartition(" ")[2].lower() if greek else "?"
