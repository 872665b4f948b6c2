"""Places that a user may give as a path or as a URL."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

_WITH_BUCKETS = frozenset({"s3", "s3a", "gs", "gcs", "az"})
"""Schemes whose URLs name a bucket where others name a host."""


def with_lower_scheme(url: str) -> str:
    """Return a URL as libraries look its scheme up, which is equal in any case by the standard; a path as it is."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme.lower()}{separator}{rest}" if separator and "/" not in scheme else url


def is_same_service(one: str, other: str) -> bool:
    """Return whether two places belong to one service, to which the same credentials may be given."""
    first, second = urlsplit(one), urlsplit(other)
    if first.scheme != second.scheme:
        return False
    return first.scheme in _WITH_BUCKETS or (first.hostname, first.port) == (second.hostname, second.port)


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
