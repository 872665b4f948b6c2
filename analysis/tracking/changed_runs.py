"""The runs of an experiment that may have changed since they were read last.

MLflow does not say when a run was changed, and sends a run whole or not at all, which takes it 1 to 3 ms. So it is
asked questions whose answer is empty if nothing changed. They cut all runs into groups: deleted; not finished;
finished, but not tagged as done, or without digest or kind: all of these are sent. The others, final runs, are cut by
kind and end into tiles of a thousand, and those of a tile are sent that were not in it before. So every new run is
found, whatever the clocks of the machines say, and every run whose state or kind changed, or that was deleted.

No question finds a digest that was replaced by another, or a run that was removed for good. To find these, each reading
sends again the final runs that were not sent for longest, and if one differs, everything is read again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import get_args

from analysis.contract.plan_schema import TaskKind
from analysis.tracking.mlflow_api import TrackingClient
from analysis.tracking.run import DIGEST_TAG, KIND_TAG, STATUS_TAG, Run

_TILE = 1000
"""Final runs that a question excludes: their ids are its text."""
_CONFIRMED = 500
"""Final runs that are sent again at each reading."""
_QUESTIONS_AT_ONCE = 4
_KINDS: tuple[str, ...] = get_args(TaskKind)
_FINISHED = "attributes.status = 'FINISHED'"
_DONE = f"{_FINISHED} AND tags.`{STATUS_TAG}` = 'done'"


def is_final(run: Run) -> bool:
    """Return whether nothing is expected to change in a run any more."""
    done = run.status == "FINISHED" and run.end_time is not None and run.tags.get(STATUS_TAG) == "done"
    return done and not run.deleted and DIGEST_TAG in run.tags and run.tags.get(KIND_TAG) in _KINDS


def changed_runs(api: TrackingClient, experiment_id: str, final: Sequence[Run]) -> list[Run] | None:
    """Return every run of an experiment that may be another than it was when it was read last.

    Args: final: all runs that were final then, those first that were not sent for longest.
    Returns: runs that changed or are new, all that are not final, and the first final ones, which are as they were;
        None if one of these is not.
    """
    first = {run.run_id: run.digest for run in final[:_CONFIRMED]}
    confirmed = api.search(experiment_id, f"attributes.run_id IN ({_listed(first)})") if first else []
    deleted = api.search(experiment_id, "", deleted=True)
    left = set(first) - {run.run_id for run in deleted}
    digests = {run.run_id: run.digest for run in confirmed}
    if any(digests.get(run_id) != first[run_id] for run_id in left):
        return None
    kinds: dict[str, list[Run]] = {}
    for run in final:
        kinds.setdefault(run.tags[KIND_TAG], []).append(run)
    # In the order in which a run goes through them: one that moves on meanwhile is sent twice, the later one counts.
    others = [api.search(experiment_id, condition) for condition in _not_final(kinds)]
    tiles = (condition for kind, runs in kinds.items() for condition in _tiles(kind, runs))
    with ThreadPoolExecutor(_QUESTIONS_AT_ONCE) as pool:
        new = list(pool.map(lambda condition: api.search(experiment_id, condition), tiles))
    runs = chain(confirmed, deleted, *others, *new)
    return list({run.run_id: run for run in runs}.values())


def _not_final(kinds: Iterable[str]) -> Iterator[str]:
    """Yield conditions of which each run meets one that is not deleted and not final, or of a kind new to the cache."""
    yield "attributes.status != 'FINISHED'"
    for tag, values in ((STATUS_TAG, ("done",)), (KIND_TAG, kinds)):
        yield f"{_FINISHED} AND tags.`{tag}` IS NULL"
        yield " AND ".join([_FINISHED, *(f"tags.`{tag}` != '{value}'" for value in values)])
    yield f"{_DONE} AND tags.`{DIGEST_TAG}` IS NULL"


def _tiles(kind: str, runs: Iterable[Run]) -> Iterator[str]:
    """Yield conditions of which every final run of a kind meets one, unless it met that one when it was read last."""
    ends = sorted((run.end_time or 0, run.run_id) for run in runs)
    borders = sorted({end for end, _ in ends[_TILE::_TILE]})
    for begin, end in pairwise((-math.inf, *borders, math.inf)):
        before = [run_id for ended, run_id in ends if begin <= ended < end]
        bounds = [f"attributes.end_time >= {begin}"] if begin > -math.inf else []
        bounds += [f"attributes.end_time < {end}"] if end < math.inf else []
        excluded = f"attributes.run_id NOT IN ({_listed(before)})"
        yield " AND ".join([_DONE, f"tags.`{KIND_TAG}` = '{kind}'", *bounds, excluded])


def _listed(run_ids: Iterable[str]) -> str:
    return ",".join(f"'{run_id}'" for run_id in run_ids)
