"""The identity of work: a digest over all that can change its result, and nothing else.

Digests of stored work survive new config keys: those at their earlier value are left out of payloads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST_LENGTH = 20
NEUTRAL: dict[str, Any] = {
    "data.side_shares": [],
    "data.sides": [],
    "data.text": "",
    "data.text_length": 512,
    "decomposition.held_at": "own",
    "model.described": None,
    "model.guidance_input": 1.0,
    "model.start": "",
    "search.trial_scheduler.quantile": 0.25,
    "search.trial_scheduler.resample": 0.25,
    "training.adapter": None,
    "training.changes": [],
    "training.deterministic": False,
    "training.trainable": "all",
}
"""Config key added after version 0.1 -> the value that earlier versions had in effect, e.g. "model.qk_norm": False.

A payload leaves the key out at that value, so that work stored before is known under its old digest. Entries stay for
good: removing or changing one changes digests.
"""


def digest_of(payload: Mapping[str, Any]) -> str:
    """Return the 80-bit digest of plain data, the same on every machine and Python; -0.0 is 0.0."""
    text = _canonical_text(payload)
    if "-0.0" in text:
        text = _canonical_text(_without_negative_zeros(payload))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]


def _canonical_text(payload: object) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _without_negative_zeros(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_negative_zeros(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_negative_zeros(one) for one in value]
    return value + 0.0 if isinstance(value, float) else value


def without_neutral(section: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those at their `NEUTRAL` value.

    Args: section: their place in a config, e.g. "model"; "": a whole config. A section of new settings alone is left
    out as a whole.
    """
    kept: dict[str, Any] = {}
    for key, value in settings.items():
        dotted = f"{section}.{key}" if section else key
        inner = without_neutral(dotted, value) if isinstance(value, Mapping) else value
        is_neutral = dotted in NEUTRAL and json.dumps(value) == json.dumps(NEUTRAL[dotted])
        if not is_neutral and (inner or not value):
            kept[key] = inner
    return kept
