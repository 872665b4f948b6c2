"""Runs of an experiment as they were read last, cached as text beside their histories."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from analysis.tracking.cache import CacheSession, Item
from analysis.tracking.changed_runs import RunSearch, changed_runs, is_final
from analysis.tracking.run import Run

_NAME, _CHANGING = "run", b""
"""Item of a run; without data, the run was final and is no more, so that its cached state must not come back."""


def cached_and_changed_runs(search: RunSearch, experiment_id: str, cache: CacheSession) -> list[Run] | None:
    """Return all runs of an experiment, without their params; only those that may have changed are asked for.

    Returns: None if all must be asked for: none is cached, or the cache cannot be right.
    """
    items = [item for item in cache.of_name(_NAME) if item.data != _CHANGING]
    items.sort(key=lambda item: (int(item.state), item.run))
    if not items:
        return None
    before = [_from_item(item) for item in items]
    sent = changed_runs(search, experiment_id, before)
    if sent is None:
        return None
    cache_runs(cache, sent, number=int(items[-1].state) + 1)
    return list({**{run.run_id: run for run in before}, **{run.run_id: run for run in sent}}.values())


def cache_runs(cache: CacheSession, runs: Iterable[Run], *, number: int = 0) -> None:
    """Add the runs of one reading to the cache.

    Args: number: of the reading; the next readings send runs of low numbers again first.
    """
    held = {item.run for item in cache.of_name(_NAME)}
    for run in runs:
        if is_final(run):
            cache.add(Item(run.run_id, _NAME, str(number), _to_bytes(run)))
        elif run.run_id in held:
            cache.add(Item(run.run_id, _NAME, str(number), _CHANGING))


def _to_bytes(run: Run) -> bytes:
    """Return the run as JSON, with exact numbers, NaN and infinities too."""
    fields = [run.name, run.status, run.start_time, run.end_time, run.artifact_uri, dict(run.tags), dict(run.metrics)]
    return json.dumps(fields).encode()


def _from_item(item: Item) -> Run:
    name, status, start_time, end_time, artifact_uri, tags, metrics = json.loads(item.data)
    return Run(
        item.run, name, status, start_time, end_time, False, artifact_uri, _interned(tags), _interned(metrics), {}
    )


def _interned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the mapping with interned keys and texts, which thousands of runs share."""
    return {sys.intern(key): sys.intern(value) if isinstance(value, str) else value for key, value in values.items()}
