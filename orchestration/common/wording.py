"""Words of messages: counts, and texts in ASCII."""

from __future__ import annotations

import unicodedata


def counted(number: int, noun: str) -> str:
    """Return "1 task", "2 tasks", "0 tasks"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def rounded(number: float) -> str:
    """Return a number to three digits, without exponents of ten where it is large: "0.0312", "12.3", "2,900"."""
    shown = f"{number:.3g}"
    return f"{float(shown):,.0f}" if "e+" in shown else shown


def duration_text(seconds: float) -> str:
    """Return a duration to two digits at most: "40 seconds", "9 minutes", "3.5 hours", "12 days"."""
    for size, unit, until in ((1, "second", 90), (60, "minute", 90 * 60), (3600, "hour", 48 * 3600)):
        if seconds < until:
            number = f"{seconds / size:.2g}" if unit == "hour" else f"{seconds / size:.0f}"
            return f"{number} {unit}{'' if number == '1' else 's'}"
    return f"{seconds / 86400:,.0f} days"


def bytes_text(num_bytes: int) -> str:
    """Return a number of bytes: "183 MB", "1.2 GB", "5.9 TB"."""
    for size, unit in ((10**12, "TB"), (10**9, "GB")):
        if num_bytes >= size:
            return f"{num_bytes / size:,.1f} {unit}"
    return f"{num_bytes / 1e6:,.0f} MB"


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
