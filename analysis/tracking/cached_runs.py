"""Runs of an experiment as they were read last, cached as text beside their histories."""

from __future__ import annotations

import json
from collections.abc import Iterable

from analysis.tracking.cache import Cache, Item
from analysis.tracking.changed_runs import changed_runs, is_final
from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import Run

_NAME, _CHANGING = "run", b""
"""Item of a run; without data, the run was final and is no more, so that its cached state must not come back."""


def cached_and_changed_runs(client: TrackingClient, experiment_id: str, cache: Cache) -> list[Run] | None:
    """Return all runs of an experiment, without their params; only those that may have changed are asked for.

    Returns: None if all must be asked for: none is cached, or the cache cannot be right.
    """
    items = [item for item in cache.of_name(_NAME) if item.data != _CHANGING]
    items.sort(key=lambda item: (int(item.state), item.run))
    if not items:
        return None
    # One document, so that all runs share their keys.
    before = [Run(*fields) for fields in json.loads(b"[%s]" % b",".join(item.data for item in items))]
    sent = changed_runs(client, experiment_id, before)
    if sent is None:
        return None
    cache_runs(cache, sent, number=int(items[-1].state) + 1)
    return list({run.run_id: run for run in (*before, *sent)}.values())


def cache_runs(cache: Cache, runs: Iterable[Run], *, number: int = 0) -> None:
    """Add the runs of one reading to the cache.

    Args: number: of the reading; the next readings send runs of low numbers again first.
    """
    held = {item.run for item in cache.of_name(_NAME)}
    for run in runs:
        if is_final(run):
            times, texts = (run.start_time, run.end_time), (run.run_id, run.name, run.status)
            fields = [*texts, *times, run.deleted, run.artifact_uri, dict(run.tags), dict(run.metrics), {}]
            cache.add(Item(run.run_id, _NAME, str(number), json.dumps(fields).encode()))
        elif run.run_id in held:
            cache.add(Item(run.run_id, _NAME, str(number), _CHANGING))
