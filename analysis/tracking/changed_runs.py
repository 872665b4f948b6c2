"""The runs of a server, of which only those are sent that are not as they were read before.

MLflow does not say when a run was changed, and sends a run whole or not at all, which is 3 ms of the server's time. So
it is asked questions whose answer is empty if nothing changed. They cut all runs into groups: deleted; not finished;
finished, but not tagged as done, or without digest or kind: all of these are sent. The others, settled runs, are cut by
kind and end into tiles of a thousand, and those of a tile are sent that were not in it before. So every new run is
found, whatever the clocks of the machines say, and every run whose state or kind changed, or that was deleted.

No question finds a digest that was replaced by another, or a run that was removed for good. For these the settled runs
that were not sent for longest are sent again, at each reading, and if one differs, everything is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import Protocol, get_args

from analysis.contract.plan_schema import TaskKind
from analysis.tracking.run import DIGEST_TAG, KIND_TAG, STATUS_TAG, Run

_TILE = 1000
"""Settled runs that a question excludes: their ids are its text."""
_CONFIRMED = 500
"""Settled runs that are sent again at each reading."""
_QUESTIONS_AT_ONCE = 4
_KINDS: tuple[str, ...] = get_args(TaskKind)
_FINISHED = "attributes.status = 'FINISHED'"
_DONE = f"{_FINISHED} AND tags.`{STATUS_TAG}` = 'done'"


class RefusedError(Exception):
    """A server does not know the search language, or not this far."""


class ServerQuestions(Protocol):
    """A tracking server, as far as it is asked here."""

    def search(self, experiment_id: str, condition: str, *, deleted: bool = False) -> list[Run]:
        """The runs for which a condition in MLflow's search language holds, all if it is empty.

        Args: deleted: of those in MLflow's bin, else of those that are not.

        Raises: RefusedError.
        """
        ...


def is_settled(run: Run) -> bool:
    """Whether nothing is expected to change in a run any more."""
    done = run.status == "FINISHED" and run.end_time is not None and run.tags.get(STATUS_TAG) == "done"
    return done and not run.deleted and DIGEST_TAG in run.tags and run.tags.get(KIND_TAG) in _KINDS


def changed_runs(server: ServerQuestions, experiment_id: str, settled: Sequence[Run]) -> list[Run] | None:
    """Every run of an experiment that may be another than it was when it was read last.

    Args: settled: all runs that were settled then, those first that were not sent for longest.
    Returns: runs that changed or are new, all that are not settled, and the first settled ones, which are as they were;
        None if one of these is not.
    """
    first = {run.run_id: run.digest for run in settled[:_CONFIRMED]}
    confirmed = server.search(experiment_id, f"attributes.run_id IN ({_listed(first)})") if first else []
    deleted = server.search(experiment_id, "", deleted=True)
    left = set(first) - {run.run_id for run in deleted}
    found = {run.run_id: run.digest for run in confirmed}
    if any(found.get(run_id) != first[run_id] for run_id in left):
        return None
    kinds: dict[str, list[Run]] = {}
    for run in settled:
        kinds.setdefault(run.tags[KIND_TAG], []).append(run)
    # In the order in which a run goes through them: one that moves on meanwhile is sent twice, the later one counts.
    others = [server.search(experiment_id, condition) for condition in _unsettled(kinds)]
    tiles = (condition for kind, runs in kinds.items() for condition in _tiles(kind, runs))
    with ThreadPoolExecutor(_QUESTIONS_AT_ONCE) as pool:
        new = list(pool.map(lambda condition: server.search(experiment_id, condition), tiles))
    runs = chain(confirmed, deleted, *others, *new)
    return list({run.run_id: run for run in runs}.values())


def _unsettled(kinds: Iterable[str]) -> Iterator[str]:
    """Conditions of which every run meets one that is not deleted and not settled, or of a kind that was not there."""
    yield "attributes.status != 'FINISHED'"
    for tag, values in ((STATUS_TAG, ("done",)), (KIND_TAG, kinds)):
        yield f"{_FINISHED} AND tags.`{tag}` IS NULL"
        yield " AND ".join([_FINISHED, *(f"tags.`{tag}` != '{value}'" for value in values)])
    yield f"{_DONE} AND tags.`{DIGEST_TAG}` IS NULL"


def _tiles(kind: str, runs: Iterable[Run]) -> Iterator[str]:
    """Conditions of which every settled run of a kind meets one, unless it met the same one when it was read last."""
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
