"""Runs of a server as they were read last, kept as text beside their histories."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.tracking.cache import CacheSession, Item
from analysis.tracking.changed_runs import ServerQuestions, changed_runs, is_settled
from analysis.tracking.run import Run

_NAME, _UNSETTLED = "run", b""
"""Of a run that was settled, and is no more, nothing may come back."""


def runs_of_server(server: ServerQuestions, experiment_id: str, kept: CacheSession) -> list[Run] | None:
    """All runs of an experiment, without their params; those that changed or may have are asked for, the others kept.

    Returns: None if all must be asked for: none is kept, or what is kept cannot be right.
    """
    items = [item for item in kept.of_name(_NAME) if item.data != _UNSETTLED]
    items.sort(key=lambda item: (int(item.state), item.run))
    if not items:
        return None
    before = [_from_item(item) for item in items]
    sent = changed_runs(server, experiment_id, before)
    if sent is None:
        return None
    keep_runs(kept, sent, number=int(items[-1].state) + 1)
    return list({**{run.run_id: run for run in before}, **{run.run_id: run for run in sent}}.values())


def keep_runs(kept: CacheSession, runs: Iterable[Run], *, number: int = 0) -> None:
    """For the next reading; of runs of one reading none was sent before the other.

    Args: number: of the reading.
    """
    held = {item.run for item in kept.of_name(_NAME)}
    for run in runs:
        if is_settled(run):
            kept.add(Item(run.run_id, _NAME, str(number), _to_bytes(run)))
        elif run.run_id in held:
            kept.add(Item(run.run_id, _NAME, str(number), _UNSETTLED))


def _to_bytes(run: Run) -> bytes:
    """Numbers exactly, NaN and infinities too."""
    fields = [run.name, run.status, run.start_time, run.end_time, run.artifact_uri, dict(run.tags), dict(run.metrics)]
    return json.dumps(fields).encode()


def _from_item(item: Item) -> Run:
    name, status, start_time, end_time, artifact_uri, tags, metrics = json.loads(item.data)
    return Run(
        item.run, name, status, start_time, end_time, False, artifact_uri, _interned(tags), _interned(metrics), {}
    )


def _interned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Thousands of runs share their keys and texts."""
    return {sys.intern(key): sys.intern(value) if isinstance(value, str) else value for key, value in values.items()}
