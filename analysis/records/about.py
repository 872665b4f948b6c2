"""about.json of a run: what the evaluator says of its numbers. People may have edited it, so nothing is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.contract.metric_errors import ERRORS, ERRORS_VERSION, MetricError, parse_metric_error
from analysis.plan.protocol import Protocol, parse_protocol

_BIASED = (
    "at this number of samples the estimated bias is larger than the standard error: compare equal numbers of samples, "
    "or values without their bias"
)


@dataclass(frozen=True)
class About:
    """A run's own notes on its measurements."""

    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Metric -> what a reader has to know to judge its number."""
    protocols: Mapping[str, Protocol] = field(default_factory=dict)
    """Metric -> how it was really measured."""
    errors: Mapping[str, MetricError] | None = None
    """Metric -> the error of its number; None: the record is of an earlier version, or its errors cannot be read."""
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
    errors = _errors(document, problems)
    for metric, measured in (errors or {}).items():
        if measured.bias is not None and abs(measured.bias) > measured.standard_error:
            notes[metric] = (*notes.get(metric, ()), _BIASED)
    return About(notes, protocols, errors, tuple(problems))


def _errors(document: Mapping[str, Any], problems: list[str]) -> dict[str, MetricError] | None:
    """Return the errors by metric; None if there are none, or they are of another version."""
    part = document.get(ERRORS)
    if part is None:
        return None
    if not isinstance(part, Mapping) or part.get("version") != ERRORS_VERSION:
        problems.append(f"about.json: its errors are not of version {ERRORS_VERSION}; they are left out")
        return None
    errors: dict[str, MetricError] = {}
    for metric, entry in _entries(part, "metrics", problems).items():
        try:
            errors[metric] = parse_metric_error(entry)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            problems.append(f"about.json: the error of {metric} is left out ({error})")
    return errors


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
