"""about.json of a run: what the evaluator says of its numbers. People may have edited it, so nothing is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.plan.protocol import Protocol, parse_protocol


@dataclass(frozen=True)
class About:
    """A run's own notes on its measurements."""

    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric -> what a reader has to know to judge its number."""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    """Metric -> how it was really measured."""
    problems: tuple[str, ...] = ()
    """Entries that could not be read, and so count as absent."""


def parse_about(document: Any) -> About:
    """Parse the content of an about.json; keep the sound entries of a broken one and name the others."""
    if not isinstance(document, Mapping):
        return About(problems=("about.json is not a JSON object; it is left out",))
    notes: dict[str, tuple[str, ...]] = {}
    protocols: dict[str, Protocol] = {}
    problems: list[str] = []
    for metric, texts in _entries(document, "notes", problems).items():
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            notes[metric] = tuple(text for text in texts if text.strip())
        else:
            problems.append(f"about.json: the notes of {metric} are not a list of texts; they are left out")
    for metric, entry in _entries(document, "protocols", problems).items():
        try:
            protocols[metric] = parse_protocol(entry)
        except (TypeError, ValueError) as error:
            problems.append(f"about.json: the protocol of {metric} is left out ({error})")
    return About(notes, protocols, tuple(problems))


def _entries(document: Mapping[str, Any], key: str, problems: list[str]) -> Mapping[str, Any]:
    """The entries under an optional key, by metric."""
    entries = document.get(key, {})
    if isinstance(entries, Mapping):
        return entries
    problems.append(f"about.json: {key} is not a JSON object; it is left out")
    return {}


def json_object(data: bytes) -> dict[str, Any] | None:
    """A JSON object that can be written again as UTF-8; None if it is anything else."""
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is legal JSON and no text
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
