"""The tracker that writes to MLflow: one experiment a sweep, one run a task, found by its digest.

The store's records are the truth and MLflow is filled from them, so an outage costs nothing but freshness: no
call is made from inside a training, failures are counted and shown, and the next submission fills in what is missing.

A run is laid out for the stock compare view, see `run_params`: few params, quality before cost, and histories of at
most a thousand points.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException

from analysis.contract.record_schema import COST_PREFIX, SECONDS
from dfm_core.config import as_plain
from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.common.errors import UserError
from orchestration.common.redaction import reason_of
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store
from orchestration.tasks.task import MetricTask, Task, TrainingTask
from orchestration.tracking.known_runs import DIGEST, FAILURE, KIND, STATUS, KnownRun, known_runs, open_experiment
from orchestration.tracking.metric_names import sampling_name, shown_name, thinned
from orchestration.tracking.run_params import run_params
from orchestration.tracking.uri import ensure_database

_MAX_BATCH = 900
_MAX_PARAM_CHARACTERS = 6000
_LOG = logging.getLogger(__name__)


class Tracker:
    """The runs of one experiment. No method raises for an outage once the tracker was opened."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        store: Store,
        provenance: Mapping[str, Any],
        varying: Collection[str] = frozenset({"seed"}),
    ) -> None:
        """Open or create the experiment.

        Args: varying: keys that become params, see `run_params.varying_settings`.
        Raises: UserError if the server or database cannot be used.
        """
        logging.getLogger("alembic").setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.ERROR)
        self.num_failed_calls = 0
        self._store = store
        self._provenance = provenance
        self._varying = frozenset(varying)
        try:
            ensure_database(uri)
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = open_experiment(self._client, experiment, uri, store)
            self._runs = known_runs(self._client, self._experiment)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  any failure to open means that tracking cannot be used
            raise UserError.of("tracking.uri", f"cannot use MLflow at {uri} ({reason_of(error)})") from None

    def is_complete(self, digest: str) -> bool:
        """Return whether MLflow holds the finished task."""
        known = self._runs.get(digest)
        return known is not None and known.status == "done"

    def describe(self, task: Task) -> None:
        """Add the params that a finished run lacks because more settings vary in the sweep than before."""
        known = self._runs.get(task.digest)
        if known is not None:
            self._safely(lambda: self._describe(known, task))

    def begin(self, task: Task) -> None:
        """Start a run for the task: that of an earlier attempt if there is one."""
        self._safely(lambda: self._begin(task))

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        """Add new points of a training curve; points that MLflow has already are left out."""
        self._safely(lambda: self._curve(task, rows))

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None:
        """Log all of a finished task, whatever was logged before; the curve of a training comes from its record.

        Args: training: task that an evaluation measures: its numbers become points of convergence curves in that run,
            which grow while it trains.
        """
        if training is not None:
            self._safely(lambda: self._converged(training, task, result))
        self._safely(lambda: self._complete(task, result))

    def tag(self, digest: str, tags: Mapping[str, str]) -> None:
        """Set tags on a task's run, if it has one here; a task of several trials keeps those of the last."""
        known = self._runs.get(digest)
        if known is not None:
            run_tags = [RunTag(key, value) for key, value in tags.items()]
            self._safely(lambda: self._client.log_batch(known.run_id, tags=run_tags))

    def fail(self, task: Task, message: str) -> None:
        """Mark a task's run as failed."""
        self._safely(lambda: self._fail(task, message))

    def _safely(self, call: Callable[[], object]) -> None:
        try:
            call()
        except (MlflowException, OSError) as error:
            self.num_failed_calls += 1
            _LOG.warning("MLflow did not take a record (%s); submit again to fill it in", reason_of(error))

    def _begin(self, task: Task) -> KnownRun:
        known = self._runs.get(task.digest)
        if known is None:
            known = self._runs[task.digest] = self._create(task)
        else:
            self._describe(known, task)
            self._client.set_tag(known.run_id, STATUS, "running")
            self._client.update_run(known.run_id, status="RUNNING")
        known.status = "running"
        return known

    def _create(self, task: Task) -> KnownRun:
        tags = {KIND: task.kind, STATUS: "running", "git_commit": self._provenance["source"]["git_commit"]}
        run_id = self._client.create_run(self._experiment, tags=tags, run_name=f"{task.kind}: {task.title}").info.run_id
        self._client.log_dict(run_id, task.payload, "task.json")
        self._client.log_dict(run_id, as_plain(task.config), "config.json")
        self._write_provenance(run_id)
        params = run_params(task, self._varying)
        # In one call, tags after params: a run that was cut off before has no digest and is never found.
        self._client.log_batch(run_id, params=_as_params(params), tags=[RunTag(DIGEST, task.digest)])
        return KnownRun(run_id, "running", 0, frozenset(params))

    def _describe(self, known: KnownRun, task: Task) -> None:
        params = {key: text for key, text in run_params(task, self._varying).items() if key not in known.params}
        if params:
            self._client.log_batch(known.run_id, params=_as_params(params))
            known.params |= set(params)

    def _write_provenance(self, run_id: str) -> None:
        self._client.log_dict(run_id, dict(self._provenance), "provenance.json")
        diff = self._provenance["source"]["uncommitted_diff"]
        if diff:
            self._client.log_text(run_id, diff, "uncommitted.diff")

    def _curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        known = self._runs.get(task.digest) or self._begin(task)
        fresh = thinned(rows, known.last_curve_step, task.total_units)
        now = int(time.time() * 1000)
        points = [
            Metric(name, value, now, int(row["step"])) for row in fresh for name, value in row.items() if name != "step"
        ]
        for start in range(0, len(points), _MAX_BATCH):
            self._client.log_batch(known.run_id, metrics=points[start : start + _MAX_BATCH])
        if fresh:
            known.last_curve_step = int(fresh[-1]["step"])

    def _recorded_curve(self, task: Task) -> tuple[CurveRow, ...]:
        record = read_record(self._store, task.digest)
        return record.curve if record is not None else ()

    def _complete(self, task: Task, result: TaskRecord) -> None:
        known = self._runs.get(task.digest) or self._begin(task)
        self._describe(known, task)
        if isinstance(task, TrainingTask):
            self._curve(task, self._recorded_curve(task))
        for name in result.files:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
                local = Path(scratch) / name
                local.write_bytes(self._store.read(TaskPaths(task.digest).result_file(name)))
                self._client.log_artifact(known.run_id, str(local))
        if result.about:
            self._client.log_text(known.run_id, json.dumps(result.about, indent=1, sort_keys=True), "about.json")
        self._client.set_terminated(known.run_id, status="FINISHED")
        now = int(time.time() * 1000)
        metrics = [Metric(shown_name(name, task), value, now, result.step) for name, value in result.metrics.items()]
        metrics.append(Metric(shown_name(SECONDS, task), result.seconds, now, 0))
        metrics.sort(key=lambda metric: metric.key.startswith(COST_PREFIX))  # the UI also draws what was logged first
        # In one call, tags after metrics: a run that says it is done has everything.
        tags = [RunTag(FAILURE, ""), RunTag(STATUS, "done")]
        self._client.log_batch(known.run_id, metrics=metrics, tags=tags)
        known.status = "done"

    def _converged(self, training: Task, task: Task, result: TaskRecord) -> None:
        known = self._runs.get(training.digest)
        if known is None or not isinstance(task, MetricTask):  # trained by another sweep, in another experiment
            return
        now, setting = int(time.time() * 1000), sampling_name(task.config.sampling)
        points = [
            Metric(f"{name}/{setting}", result.metrics[name], now, result.step)
            for name in task.protocols
            if name in result.metrics
        ]
        self._client.log_batch(known.run_id, metrics=points)

    def _fail(self, task: Task, message: str) -> None:
        known = self._runs.get(task.digest) or self._begin(task)
        for key, value in ((STATUS, "failed"), (FAILURE, message[:5000])):
            self._client.set_tag(known.run_id, key, value)
        self._client.set_terminated(known.run_id, status="FAILED")
        known.status = "failed"


def _as_params(texts: Mapping[str, str]) -> list[Param]:
    return [Param(key, text[:_MAX_PARAM_CHARACTERS]) for key, text in texts.items()]
