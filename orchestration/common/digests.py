"""The identity of work: a digest over all that can change its result, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST_LENGTH = 20


def digest_of(payload: Mapping[str, Any]) -> str:
    """Return the 80-bit digest of plain data, the same on every machine and Python."""
    text = json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
