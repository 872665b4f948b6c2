"""Reads what MLflow holds for a plan: from the database where that is proven equal, else over the public API, and of
runs that ended and were read before nothing again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from analysis.contract.plan_schema import TaskKind
from analysis.contract.record_schema import COST_PREFIX
from analysis.plan.model import PublishedPlan
from analysis.records.about import About, json_object, parse_about
from analysis.records.choose_run import (
    candidates,
    curve_notes,
    deleted_notes,
    duplicate_note,
    impostor_note,
    status_notes,
    status_of,
    strangers_note,
)
from analysis.records.code_versions import versions_note
from analysis.records.record import MEASURING, Record, is_loss
from analysis.records.sample_images import image_names, images_in
from analysis.tracking import mlflow_api as server
from analysis.tracking import mlflow_database as database
from analysis.tracking.address import check_reachable, run_url, unreachable
from analysis.tracking.cache import CacheSession, ReadingCache, cache_folder
from analysis.tracking.cached_histories import CachedSource
from analysis.tracking.cached_runs import keep_runs, runs_of_server
from analysis.tracking.changed_runs import RefusedError
from analysis.tracking.history import Points
from analysis.tracking.run import History, Run, RunSource

_FAILURE_TAG, _WARNING_TAG = "failure", "warning"
_PROVENANCE, _ABOUT, _TASK = "provenance.json", "about.json", "task.json"
"""Before the names of costs, so that the compare view comes to them last."""
_SAMPLE = 20
"""Newest runs that the API is asked for, beside which what the database says is laid."""
_LOG = logging.getLogger("analysis")


@dataclass(frozen=True)
class Reading:
    """What was read for a plan."""

    records: dict[str, Record]
    """By digest; a digest nothing was recorded for is absent."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of the experiment as a whole."""
    runs: tuple[Run, ...] = ()
    """All runs of the experiment, deleted ones too."""
    experiment_id: str = ""
    """MLflow's; "" if there is no such experiment."""

    def url_of(self, plan: PublishedPlan, run: Run) -> str:
        """The page of a run; "" if MLflow is a database and not a server."""
        return run_url(plan.tracking_uri, self.experiment_id, run.run_id)


def read(plan: PublishedPlan, *, with_params: bool = False) -> Reading:
    """What MLflow holds for a plan now.

    Args: with_params: whether the runs have theirs; the records do not need them.

    Raises: TrackingUnreachableError if the tracking server or database cannot be reached: at once or within 10 seconds
        if that is so from the start, within MLflow's tries of a call, a minute and a half, if it stops answering
        meanwhile.
    """
    check_reachable(plan.tracking_uri)
    try:
        api = server.Server(plan.tracking_uri)
        found = api.experiment(plan.experiment)
        if found is None:
            return Reading({}, (f"The tracking server has no experiment {plan.experiment!r}: nothing is recorded.",))
        folder = cache_folder()
        kept = CacheSession(ReadingCache(folder, plan.tracking_uri, f"{found.id} {found.created}") if folder else None)
        source, runs = _source(api, plan.tracking_uri, found.id, kept, with_params)
        records = _records(plan, CachedSource(source, api, kept), runs, found.id)
        kept.save({run.run_id for run in runs})
        notes = [strangers_note(plan, runs), versions_note(plan, records)]
        if found.deleted:
            notes.append(
                f"The experiment {plan.experiment!r} was deleted in MLflow; what it holds is read all the same."
            )
        return Reading(records, tuple(filter(None, notes)), tuple(runs), found.id)
    except server.FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, ImportError):
            reason = f"its driver is not installed ({reason}; for Postgres: pip install 'psycopg[binary]')"
        raise unreachable(plan.tracking_uri, reason) from error


def _source(
    api: server.Server, uri: str, experiment_id: str, kept: CacheSession, with_params: bool
) -> tuple[RunSource, list[Run]]:
    """The database, if it is of a kind that is proven and says what the API says; else the API."""
    if urlsplit(uri).scheme.split("+")[0] not in database.PROVEN:
        return api, _over_api(api, experiment_id, kept, with_params)
    try:
        direct = database.Database(uri)
        runs = direct.runs(experiment_id, with_params=with_params)
        if _agree(api, direct, experiment_id, {run.run_id: run for run in runs}):
            return direct, runs
        reason = "its tables say something else than the API"
    except database.FAILURES as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    _LOG.warning("the tracking database is read through MLflow's API, which takes longer: %s", reason)
    return api, api.runs(experiment_id, with_params=with_params)


def _over_api(api: server.Server, experiment_id: str, kept: CacheSession, with_params: bool) -> list[Run]:
    """All runs; those that were read before and did not change are not sent, if the server can be asked so."""
    runs = None
    try:
        runs = None if with_params else runs_of_server(api, experiment_id, kept)
    except RefusedError as error:
        _LOG.warning("all runs are read, which takes longer: the server refuses to search for changed ones (%s)", error)
    if runs is None:
        runs = api.runs(experiment_id, with_params=with_params)
        keep_runs(kept, runs)
    return runs


def _agree(api: server.Server, direct: RunSource, experiment_id: str, runs: Mapping[str, Run]) -> bool:
    """Whether the newest runs, and the last history among them, are the same; those that run may change meanwhile."""
    sample = [run for run in api.newest_runs(experiment_id, _SAMPLE) if run.ended]
    sample = [run for run in sample if run.run_id not in runs or runs[run.run_id].ended]
    if any(repr(_comparable(run)) != repr(_comparable(runs.get(run.run_id))) for run in sample):
        return False
    histories = [History(run, key) for run in sample for key in run.metrics if is_loss(key)][:1]
    both = (dict(source.histories(histories)) for source in (api, direct))
    first, second = ([points.to_bytes() for points in found.values()] for found in both)
    return first == second


def _comparable(run: Run | None) -> Any:
    """A run in an order of its own; NaN equals NaN in its text."""
    if run is None:
        return None
    maps = sorted(run.tags.items()), sorted(run.metrics.items())
    return run.run_id, run.name, run.status, run.start_time, run.end_time, run.artifact_uri, maps


def _records(plan: PublishedPlan, known: CachedSource, runs: list[Run], experiment_id: str) -> dict[str, Record]:
    kinds = plan.kinds
    believed, notes = _believed(plan, known, candidates(plan, runs))
    histories = [
        History(run, key)
        for digest, (run, _) in believed.items()
        if kinds[digest] == "train"
        for key in sorted(run.metrics)
        if is_loss(key)
    ]
    curves: dict[str, dict[str, Points]] = {}
    for history, points in known.histories(histories):
        curves.setdefault(history.run.run_id, {})[history.key] = points
    records = {
        digest: _record(plan, run, files, curves.get(run.run_id, {}), tuple(notes[digest]), experiment_id)
        for digest, (run, files) in believed.items()
    }
    for digest, note in deleted_notes(runs).items():
        if digest in kinds and digest not in records:
            records[digest] = Record("missing", notes=(*notes.get(digest, ()), note))
    return {**records, **{d: Record("missing", notes=tuple(n)) for d, n in notes.items() if n and d not in records}}


_Believed = dict[str, tuple[Run, Mapping[str, bytes]]]


def _believed(
    plan: PublishedPlan, known: CachedSource, found: dict[str, list[Run]]
) -> tuple[_Believed, dict[str, list[str]]]:
    """The run that speaks for each digest with its files, and notes; a run that did something else speaks for none."""
    kinds, believed = plan.kinds, _Believed()
    notes: dict[str, list[str]] = {digest: [] for digest in found}
    left, pictures = dict(found), image_names(plan)
    while left:
        first = {digest: runs[0] for digest, runs in left.items()}
        wanted = [(run, _wanted(kinds[digest], pictures.get(digest, ()))) for digest, run in first.items()]
        files = {run.run_id: files for run, files in known.files(wanted)}
        again: dict[str, list[Run]] = {}
        for digest, run in first.items():
            did = json_object(files[run.run_id].get(_TASK, b""))
            if did is not None and did != plan.payloads.get(digest, did):
                notes[digest].append(impostor_note(run))
                again |= {digest: left[digest][1:]} if left[digest][1:] else {}
                continue
            believed[digest] = run, files[run.run_id]
            notes[digest].extend(status_notes(run, kinds[digest]))
            notes[digest].extend(filter(None, [duplicate_note(plan, run, left[digest][1:])]))
        left = again
    return dict(sorted(believed.items())), notes


def _wanted(kind: TaskKind, pictures: Sequence[str]) -> frozenset[str]:
    return frozenset({_PROVENANCE, _TASK, *pictures, *((_ABOUT,) if kind in MEASURING else ())})


def _record(
    plan: PublishedPlan,
    run: Run,
    files: Mapping[str, bytes],
    curves: Mapping[str, Points],
    notes: tuple[str, ...],
    experiment_id: str,
) -> Record:
    pictures = images_in(plan.kinds[run.digest], files)
    return Record(
        status=status_of(run),
        metrics={key.removeprefix(COST_PREFIX): value for key, value in sorted(run.metrics.items())},
        curves=dict(sorted(curves.items())),
        image=pictures.image,
        strips=pictures.strips,
        moving=pictures.moving,
        about=parse_about(files[_ABOUT]) if _ABOUT in files else About(),
        provenance=_parsed(files.get(_PROVENANCE, b"{}")),
        failure=run.tags.get(_FAILURE_TAG) or None,
        warning=run.tags.get(_WARNING_TAG) or None,
        run_id=run.run_id,
        url=run_url(plan.tracking_uri, experiment_id, run.run_id),
        notes=(*notes, *curve_notes(curves)),
    )


@lru_cache(maxsize=256)
def _parsed(provenance: bytes) -> Mapping[str, Any]:
    """Thousands of runs say the same of where they ran."""
    return json_object(provenance) or {}
