"""Words of messages: counts, and texts in ASCII."""

from __future__ import annotations

import unicodedata


def counted(number: int, noun: str) -> str:
    """Return "1 task", "2 tasks", "0 tasks"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def ascii_text(text: str) -> str:
    """Return the text in ASCII: indices as digits, Greek letters by name, accents left out, other signs as "?".

    "p₀ 0.7, τ 0.9" becomes "p0 0.7, tau 0.9".
    """
    return "".join(_in_ascii(sign) for sign in unicodedata.normalize("NFKD", text))


def _in_ascii(sign: str) -> str:
    if sign.isascii():
        return sign
    if unicodedata.combining(sign):
        return ""
    name = unicodedata.name(sign, "")
    greek = name.startswith("GREEK SMALL LETTER ") and name.count(" ") == 3
    return name.rpartition(" ")[2].lower() if greek else "?"
