"""The settings in which the rows of a published part differ, each row with its own value or the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.contract.plan_schema import PartEntry, TaskEntry, TrialEntry


def resolved_settings(
    part: PartEntry, trials: Sequence[TrialEntry], tasks: Mapping[str, TaskEntry]
) -> dict[str, dict[str, Any]]:
    """By row the value of each key that any row sets: what the row sets, or else what its tasks were given.

    A default is in the payload of a task, under the same dotted key; a key that none has is absent.

    Args: part, trials, tasks: of the published plan's JSON.
    """
    own = {row["label"]: dict(row.get("settings", {})) for row in part["rows"]}
    keys = dict.fromkeys(key for settings in own.values() for key in settings)
    first: dict[str, TrialEntry] = {}
    for trial in trials:
        if trial["part"] == part["name"]:
            first.setdefault(trial["row"], trial)
    resolved = {}
    for label, settings in own.items():
        values = {key: settings[key] if key in settings else _default(key, first.get(label), tasks) for key in keys}
        resolved[label] = {key: value for key, value in values.items() if value is not None}
    return resolved


def _default(key: str, trial: TrialEntry | None, tasks: Mapping[str, TaskEntry]) -> Any:
    """Return the value of a dotted key in a trial's tasks; None if neither has it."""
    if trial is None:
        return None
    digests = [trial["train"], *(entry["digest"] for entry in trial["evaluations"][-1:])]
    for digest in digests:
        value: Any = tasks[digest].get("payload", {}) if digest in tasks else {}
        for name in key.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            return value
    return None
