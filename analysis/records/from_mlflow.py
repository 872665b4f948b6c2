"""Joins the records of a plan with its runs in MLflow.

A task with a complete record has its numbers, curves and pictures from there; MLflow adds the run, its state and the
version of the code. Other tasks are read from their runs alone.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from analysis.plan.model import PublishedPlan
from analysis.records.about import About, json_object, parse_about
from analysis.records.choose_run import (
    absent_note,
    candidates,
    curve_notes,
    deleted_notes,
    disagreement_note,
    duplicate_note,
    impostor_note,
    metrics_of,
    status_notes,
    status_of,
    strangers_note,
)
from analysis.records.code_versions import versions_note
from analysis.records.record import MEASURING, MISSING, Reading, Record, has_history
from analysis.records.sample_images import image_names, images_in
from analysis.records.sound_numbers import sound_curves, sound_metrics
from analysis.tracking.address import check_reachable, run_url, unreachable
from analysis.tracking.cache import Cache, cache_folder
from analysis.tracking.cached_run_data import RunData
from analysis.tracking.cached_runs import cache_runs, cached_and_changed_runs
from analysis.tracking.history import MetricHistory
from analysis.tracking.mlflow_api import FAILURES, RefusedError, TrackingClient
from analysis.tracking.run import Experiment, HistoryRequest, Run

Files = Mapping[str, bytes]
_FAILURE_TAG, _WARNING_TAG = "failure", "warning"
_PROVENANCE, _ABOUT, _TASK = "provenance.json", "about.json", "task.json"
_LOG = logging.getLogger("analysis")


@dataclass(frozen=True)
class ExperimentRuns:
    """The runs of an experiment, and the way to their histories and files."""

    experiment: Experiment
    runs: list[Run]
    client: TrackingClient
    cache: Cache


def find_runs(plan: PublishedPlan, *, with_params: bool) -> ExperimentRuns | None:
    """Return the runs that MLflow holds for a plan now; None if it has no such experiment.

    Args: with_params: whether the runs have theirs, for which all runs are asked again.

    Raises: TrackingUnreachableError if the tracking server or database cannot be reached: at once or within 10 seconds
        if that is so from the start, within MLflow's tries of a call, a minute and a half, if it stops answering
        meanwhile.
    """
    check_reachable(plan.tracking_uri)
    with _failing(plan.tracking_uri):
        client = TrackingClient(plan.tracking_uri)
        experiment = client.experiment(plan.experiment)
        if experiment is None:
            return None
        cache = Cache(cache_folder(), plan.tracking_uri, f"{experiment.id} {experiment.created}")
        runs = client.runs(experiment.id, with_params=True) if with_params else _changed_runs(client, experiment, cache)
        return ExperimentRuns(experiment, runs, client, cache)


@contextmanager
def _failing(uri: str) -> Iterator[None]:
    """Turn the errors of a server or database into TrackingUnreachableError."""
    try:
        yield
    except FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, ImportError):
            reason = f"its driver is not installed ({reason}; for Postgres: pip install 'psycopg[binary]')"
        raise unreachable(uri, reason) from error


def _changed_runs(client: TrackingClient, experiment: Experiment, cache: Cache) -> list[Run]:
    """Return all runs; those that were read before and did not change are not sent, if the server can be asked so."""
    runs = None
    try:
        runs = cached_and_changed_runs(client, experiment.id, cache)
    except RefusedError as error:
        _LOG.warning("all runs are read, which takes longer: the server refuses to search for changed ones (%s)", error)
    if runs is None:
        runs = client.runs(experiment.id)
        cache_runs(cache, runs)
    return runs


def join(plan: PublishedPlan, found: ExperimentRuns | None, stored: Mapping[str, Record]) -> Reading:
    """Return the records of a plan out of its runs and the records in the storage root, see `read_record_files`.

    Raises: TrackingUnreachableError, as `find_runs` does.
    """
    if found is None:
        what = "every number is that of the task's record" if stored else "nothing is recorded"
        return Reading(dict(stored), (f"The tracking server has no experiment {plan.experiment!r}: {what}.",))
    runs, experiment = found.runs, found.experiment
    with _failing(plan.tracking_uri):
        records = _Join(plan, stored, RunData(found.client, found.cache), experiment.id).records(runs)
        found.cache.save({run.run_id for run in runs})
    notes = [strangers_note(plan, runs), versions_note(plan, records), absent_note(records, runs)]
    if experiment.deleted:
        notes.append(f"The experiment {plan.experiment!r} was deleted in MLflow; what it holds is read all the same.")
    return Reading(records, tuple(filter(None, notes)), tuple(runs), experiment.id)


class _Join:
    """The records of a plan's tasks, each from its file where that is complete, and from its run."""

    def __init__(self, plan: PublishedPlan, stored: Mapping[str, Record], data: RunData, experiment_id: str) -> None:
        self._plan, self._stored, self._data, self._experiment_id = plan, stored, data, experiment_id
        self._complete = {digest: record for digest, record in stored.items() if record.status == "done"}
        self._pictures = image_names(plan)
        self._notes: dict[str, list[str]] = defaultdict(list)

    def records(self, runs: Sequence[Run]) -> dict[str, Record]:
        """Return records by digest."""
        chosen = self._choose(candidates(self._plan, runs, self._complete))
        requests = [
            HistoryRequest(run, key)
            for digest, (run, _) in chosen.items()
            if self._plan.kinds[digest] == "train" and digest not in self._complete
            for key in sorted(run.metrics)
            if has_history(key)
        ]
        curves: dict[str, dict[str, MetricHistory]] = defaultdict(dict)
        for request, history in self._data.histories(requests):
            curves[request.run.run_id][request.key] = history
        records = {**self._stored}
        for digest, (run, files) in chosen.items():
            record = self._complete.get(digest) or self._from_run(run, files, curves.get(run.run_id, {}))
            records[digest] = self._with_run(record, run, files)
        for digest, note in deleted_notes(runs, self._complete).items():
            if digest in self._plan.kinds and digest not in chosen:
                self._notes[digest].append(note)
        for digest, texts in ((digest, texts) for digest, texts in self._notes.items() if texts):
            record = records.get(digest, MISSING)
            records[digest] = replace(record, notes=(*texts, *record.notes))
        return dict(sorted(records.items()))

    def _choose(self, claims: Mapping[str, Sequence[Run]]) -> dict[str, tuple[Run, Files]]:
        """Return the run that speaks for each digest with its files; a run that did something else speaks for none."""
        chosen: dict[str, tuple[Run, Files]] = {}
        left = dict(claims)
        while left:
            disagreements = {
                digest: disagreement_note(runs[0], self._complete[digest])
                for digest, runs in left.items()
                if digest in self._complete
            }
            requests = [(runs[0], self._wanted(digest, disagreements.get(digest))) for digest, runs in left.items()]
            files = {run.run_id: read for run, read in self._data.files(requests)}
            again: dict[str, Sequence[Run]] = {}
            for digest, (run, *others) in left.items():
                found, problem = files[run.run_id]
                did = json_object(found.get(_TASK, b""))
                if did is not None and did != self._plan.payloads.get(digest, did):
                    self._notes[digest].append(impostor_note(run))
                    again |= {digest: others} if others else {}
                    continue
                chosen[digest] = run, found
                self._notes[digest] += [f"files of run {run.run_id} are left out: {problem}"] if problem else []
                notes = (duplicate_note(self._plan, run, others), disagreements.get(digest))
                self._notes[digest] += [*status_notes(run, self._plan.kinds[digest]), *filter(None, notes)]
            left = again
        return dict(sorted(chosen.items()))

    def _wanted(self, digest: str, disagreement: str | None) -> tuple[str, ...]:
        """Return the names of the artifacts to read of a run; all if it alone speaks for its task.

        Args: disagreement: how it differs from the task's complete record; None if there is none.
        """
        if disagreement is not None:
            return (_PROVENANCE, _TASK) if disagreement else (_PROVENANCE,)
        about = (_ABOUT,) if self._plan.kinds[digest] in MEASURING else ()
        return _PROVENANCE, _TASK, *self._pictures.get(digest, ()), *about

    def _from_run(self, run: Run, files: Files, curves: Mapping[str, MetricHistory]) -> Record:
        """Return what a run says of a task; of a record that could not be read, its note."""
        stored = self._stored.get(run.digest)
        metrics, left_out = sound_metrics(metrics_of(run))
        sound = sound_curves(curves)
        return Record(
            status=status_of(run),
            metrics=metrics,
            curves=sound,
            **images_in(self._plan.kinds[run.digest], files),
            about=parse_about(json_object(files[_ABOUT])) if _ABOUT in files else About(),
            notes=(*left_out, *curve_notes(sound), *(stored.notes if stored is not None and not stored.path else ())),
        )

    def _with_run(self, record: Record, run: Run, files: Files) -> Record:
        return replace(
            record,
            provenance=_parsed(files.get(_PROVENANCE, b"{}")),
            failure=run.tags.get(_FAILURE_TAG) or None,
            warning=run.tags.get(_WARNING_TAG) or None,
            run_id=run.run_id,
            url=run_url(self._plan.tracking_uri, self._experiment_id, run.run_id),
        )


@lru_cache(maxsize=256)
def _parsed(provenance: bytes) -> Mapping[str, Any]:
    """Return a provenance file's content, which thousands of runs share."""
    return json_object(provenance) or {}
