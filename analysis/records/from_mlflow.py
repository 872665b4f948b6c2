"""Joins the records of a plan with its runs in MLflow.

A task with a complete record has its numbers, curves and pictures from there; MLflow adds the run, its state and the
version of the code. Other tasks are read from their runs alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from analysis.contract.plan_schema import TaskKind
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
from analysis.records.record import MEASURING, Record, is_loss
from analysis.records.sample_images import image_names, images_in
from analysis.records.sound_numbers import sound_curves, sound_metrics
from analysis.tracking.address import check_reachable, run_url, unreachable
from analysis.tracking.cache import CacheSession
from analysis.tracking.cached_run_data import RunData
from analysis.tracking.cached_runs import cache_runs, cached_and_changed_runs
from analysis.tracking.changed_runs import RefusedError
from analysis.tracking.history import MetricHistory
from analysis.tracking.mlflow_api import FAILURES, TrackingClient
from analysis.tracking.run import HistoryRequest, Run

_FAILURE_TAG, _WARNING_TAG = "failure", "warning"
_PROVENANCE, _ABOUT, _TASK = "provenance.json", "about.json", "task.json"
_NO_RECORDS: Mapping[str, Record] = MappingProxyType({})
_LOG = logging.getLogger("analysis")


@dataclass(frozen=True)
class Reading:
    """The records of a plan, and the runs of its experiment."""

    records: dict[str, Record]
    """By digest; a digest nothing was recorded for is absent."""
    notes: tuple[str, ...] = ()
    """Facts about the experiment as a whole that a reader has to know."""
    runs: tuple[Run, ...] = ()
    """All runs of the experiment, deleted ones too."""
    experiment_id: str = ""
    """MLflow's; "" if there is no such experiment."""

    def url_of(self, plan: PublishedPlan, run: Run) -> str:
        """Return the page of a run; "" if MLflow is a database and not a server."""
        return run_url(plan.tracking_uri, self.experiment_id, run.run_id)


def read(plan: PublishedPlan, stored: Mapping[str, Record] = _NO_RECORDS, *, with_params: bool = False) -> Reading:
    """Return what MLflow and the records in the storage root hold for a plan now.

    Args: stored: the records, see `read_record_files`. with_params: whether the runs have theirs, for which all runs
        are asked again.

    Raises: TrackingUnreachableError if the tracking server or database cannot be reached: at once or within 10 seconds
        if that is so from the start, within MLflow's tries of a call, a minute and a half, if it stops answering
        meanwhile.
    """
    check_reachable(plan.tracking_uri)
    try:
        client = TrackingClient(plan.tracking_uri)
        experiment = client.experiment(plan.experiment)
        if experiment is None:
            what = "every number is that of the task's record" if stored else "nothing is recorded"
            return Reading(dict(stored), (f"The tracking server has no experiment {plan.experiment!r}: {what}.",))
        cache = CacheSession.open(plan.tracking_uri, f"{experiment.id} {experiment.created}")
        runs = client.runs(experiment.id) if with_params else _runs(client, experiment.id, cache)
        records = _Join(plan, stored, RunData(client, cache), experiment.id).records(runs)
        cache.save({run.run_id for run in runs})
    except FAILURES as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, ImportError):
            reason = f"its driver is not installed ({reason}; for Postgres: pip install 'psycopg[binary]')"
        raise unreachable(plan.tracking_uri, reason) from error
    notes = [strangers_note(plan, runs), versions_note(plan, records), absent_note(records, runs)]
    if experiment.deleted:
        notes.append(f"The experiment {plan.experiment!r} was deleted in MLflow; what it holds is read all the same.")
    return Reading(records, tuple(filter(None, notes)), tuple(runs), experiment.id)


def _runs(client: TrackingClient, experiment_id: str, cache: CacheSession) -> list[Run]:
    """Return all runs; those that were read before and did not change are not sent, if the server can be asked so."""
    runs = None
    try:
        runs = cached_and_changed_runs(client, experiment_id, cache)
    except RefusedError as error:
        _LOG.warning("all runs are read, which takes longer: the server refuses to search for changed ones (%s)", error)
    if runs is None:
        runs = client.runs(experiment_id)
        cache_runs(cache, runs)
    return runs


@dataclass(frozen=True)
class _Join:
    """The records of a plan's tasks, each from its file where that is complete, and from its run."""

    plan: PublishedPlan
    stored: Mapping[str, Record]
    data: RunData
    experiment_id: str

    def records(self, runs: Sequence[Run]) -> dict[str, Record]:
        """Return records by digest."""
        complete = {digest: record for digest, record in self.stored.items() if record.status == "done"}
        chosen, notes = self._choose(candidates(self.plan, runs, complete), complete)
        requests = [
            HistoryRequest(run, key)
            for digest, (run, _) in chosen.items()
            if self.plan.kinds[digest] == "train" and digest not in complete
            for key in sorted(run.metrics)
            if is_loss(key)
        ]
        curves: dict[str, dict[str, MetricHistory]] = {}
        for request, history in self.data.histories(requests):
            curves.setdefault(request.run.run_id, {})[request.key] = history
        records = {**self.stored}
        for digest, (run, files) in chosen.items():
            record = complete.get(digest) or self._from_run(run, files, curves.get(run.run_id, {}))
            records[digest] = self._with_run(record, run, files)
        for digest, note in deleted_notes(runs, complete).items():
            if digest in self.plan.kinds and digest not in chosen:
                notes.setdefault(digest, []).append(note)
        for digest, texts in notes.items():
            if texts:
                record = records.get(digest, Record("missing"))
                records[digest] = replace(record, notes=(*texts, *record.notes))
        return dict(sorted(records.items()))

    def _choose(
        self, claims: dict[str, list[Run]], complete: Mapping[str, Record]
    ) -> tuple[dict[str, tuple[Run, Mapping[str, bytes]]], dict[str, list[str]]]:
        """Return the run that speaks for each digest with its files, and notes; a run that did something else speaks
        for none."""
        chosen: dict[str, tuple[Run, Mapping[str, bytes]]] = {}
        notes: dict[str, list[str]] = {digest: [] for digest in claims}
        left, pictures = dict(claims), image_names(self.plan)
        while left:
            first = {digest: runs[0] for digest, runs in left.items()}
            disagreements = {
                digest: disagreement_note(run, complete[digest]) if digest in complete else ""
                for digest, run in first.items()
            }
            wanted = {
                digest: _wanted(self.plan.kinds[digest], pictures.get(digest, ()))
                if digest not in complete
                else frozenset({_PROVENANCE, _TASK} if disagreements[digest] else {_PROVENANCE})
                for digest in first
            }
            requests = [(first[digest], names) for digest, names in wanted.items()]
            files = {run.run_id: found for run, found in self.data.files(requests)}
            again: dict[str, list[Run]] = {}
            for digest, run in first.items():
                others = left[digest][1:]
                found, problem = files[run.run_id]
                did = json_object(found.get(_TASK, b""))
                if did is not None and did != self.plan.payloads.get(digest, did):
                    notes[digest].append(impostor_note(run))
                    again |= {digest: others} if others else {}
                    continue
                chosen[digest] = run, found
                notes[digest].extend([f"files of run {run.run_id} are left out: {problem}"] if problem else [])
                notes[digest].extend(status_notes(run, self.plan.kinds[digest]))
                notes[digest].extend(filter(None, [duplicate_note(self.plan, run, others), disagreements[digest]]))
            left = again
        return dict(sorted(chosen.items())), notes

    def _from_run(self, run: Run, files: Mapping[str, bytes], curves: Mapping[str, MetricHistory]) -> Record:
        """Return what a run says of a task; of a record that could not be read, its note."""
        pictures, stored = images_in(self.plan.kinds[run.digest], files), self.stored.get(run.digest)
        metrics, left_out = sound_metrics(metrics_of(run))
        curves = sound_curves(curves)
        return Record(
            status=status_of(run),
            metrics=metrics,
            curves=curves,
            image=pictures.image,
            strips=pictures.strips,
            moving=pictures.moving,
            about=parse_about(files[_ABOUT]) if _ABOUT in files else About(),
            notes=(*left_out, *curve_notes(curves), *(stored.notes if stored is not None and not stored.path else ())),
        )

    def _with_run(self, record: Record, run: Run, files: Mapping[str, bytes]) -> Record:
        return replace(
            record,
            provenance=_parsed(files.get(_PROVENANCE, b"{}")),
            failure=run.tags.get(_FAILURE_TAG) or None,
            warning=run.tags.get(_WARNING_TAG) or None,
            run_id=run.run_id,
            url=run_url(self.plan.tracking_uri, self.experiment_id, run.run_id),
        )


def _wanted(kind: TaskKind, pictures: Sequence[str]) -> frozenset[str]:
    """Return the names of the artifacts of a run that alone speaks for its task."""
    return frozenset({_PROVENANCE, _TASK, *pictures, *((_ABOUT,) if kind in MEASURING else ())})


@lru_cache(maxsize=256)
def _parsed(provenance: bytes) -> Mapping[str, Any]:
    """Return a provenance file's content, which thousands of runs share."""
    return json_object(provenance) or {}
