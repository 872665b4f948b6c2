"""Places that a user may give as a path or as a URL."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit


def is_url(path: str) -> bool:
    return "://" in path


def parts_of_url(url: str, otherwise: str) -> SplitResult:
    """Return the parts of a URL.

    Args: otherwise: says what it should be; the message for a text that is no URL.
    Raises: ValueError, worded to follow what was given, if it is no URL or holds a password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(otherwise) from None
    if parts.password:
        raise ValueError(
            "should hold no password: credentials belong into storage.options or where the protocol's client looks"
        )
    return parts
