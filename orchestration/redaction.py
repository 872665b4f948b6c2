"""Messages of storage libraries without the credentials that they like to repeat."""

from __future__ import annotations

import os
from collections.abc import Mapping

from orchestration.validation import without_credentials

_SHOWN_OPTIONS = ("endpoint_url", "region_name")
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_SHORTEST_SECRET = 4  # characters; a shorter one would blank half of every message
_MAX_REASON = 300


def reason_of(error: BaseException, options: Mapping[str, str]) -> str:
    """What went wrong, in one line that can be shown.

    Args: options: of the file system that raised; their values are secrets, but for endpoint and region.
    """
    text = without_credentials(f"{type(error).__name__}: {' '.join(str(error).split())}")
    secrets = [value for name, value in options.items() if name not in _SHOWN_OPTIONS]
    secrets += [os.environ.get(name, "") for name in _SECRET_VARIABLES]
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text[:_MAX_REASON]
