"""The tracker that writes to MLflow: one experiment a sweep, one run a task, found by its digest.

The store's records are the truth and MLflow is filled from them, so an outage costs nothing but freshness: no
call is made from inside a training, tasks that MLflow lacks are counted, and the next submission fills them in.

A run is laid out for the stock compare view, see `run_params`: few params, quality before cost, and histories of at
most a thousand points.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from analysis.contract.record_schema import COST_PREFIX, SECONDS
from dfm_core.training.curve import CurveRow
from orchestration.artifacts.task_record import TaskRecord, read_record
from orchestration.common.errors import UserError
from orchestration.common.redaction import reason_of
from orchestration.storage.store import Store
from orchestration.tasks.task import EvaluateTask, MetricTask, Task, TrainingTask
from orchestration.tracking.known_runs import (
    DIGEST,
    FAILURE,
    KIND,
    NAME,
    STATUS,
    KnownRun,
    known_runs,
    open_experiment,
)
from orchestration.tracking.limits import (
    MAX_METRICS_AT_ONCE,
    MAX_NAME,
    MAX_PARAM,
    MAX_PARAMS_AT_ONCE,
    MAX_TAG,
    metric_name,
    storable,
)
from orchestration.tracking.metric_names import sampling_name, shown_name, thinned
from orchestration.tracking.run_files import write_result_files, write_task_files
from orchestration.tracking.run_params import run_params
from orchestration.tracking.sqlite_database import ensure_database

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
        where: str = "tracking.uri",
    ) -> None:
        """Open or create the experiment.

        Args: varying: keys that become params, see `run_params.varying_settings`. where: the key or variable that gives
            the URI.
        Raises: UserError if the server or database cannot be used.
        """
        logging.getLogger("alembic").setLevel(logging.ERROR)
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs what it raises, as a traceback
        self._lacking: set[str] = set()
        self._early_points: dict[str, list[Metric]] = {}
        self._store = store
        self._provenance = provenance
        self._varying = frozenset(varying)
        try:
            ensure_database(uri, store, experiment)
            self._client = MlflowClient(tracking_uri=uri)
            self._experiment = open_experiment(self._client, experiment, uri, store)
            self._runs = known_runs(self._client, self._experiment)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001  any failure to open means that tracking cannot be used
            raise UserError.of(where, f"cannot use MLflow at {uri} ({reason_of(error)})") from None

    @property
    def num_lacking(self) -> int:
        """Number of tasks of which MLflow did not take something, and did not get all since."""
        return len(self._lacking)

    def is_complete(self, digest: str) -> bool:
        """Return whether MLflow holds the finished task."""
        known = self._runs.get(digest)
        return known is not None and known.status == "done" and digest not in self._lacking

    def describe(self, task: Task) -> None:
        """Add the params that a finished run lacks because more settings vary in the sweep than before."""
        known = self._runs.get(task.digest)
        if known is not None:
            self._safely(task.digest, lambda: self._describe(known, task))

    def begin(self, task: Task) -> None:
        """Start a run for the task: that of an earlier attempt if there is one."""
        self._safely(task.digest, lambda: self._begin(task))

    def curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        """Add new points of a training curve; points that MLflow has already are left out."""
        self._safely(task.digest, lambda: self._curve(task, rows))

    def complete(self, task: Task, result: TaskRecord, training: Task | None = None) -> None:
        """Log all of a finished task, whatever was logged before; the curve of a training comes from its record.

        Args: training: task that an evaluation measures: its numbers become points of convergence curves in that run,
            which grow while it trains.
        """

        def call() -> None:
            if training is not None:
                self._converged(training, task, result)
            self._complete(task, result)

        if self._safely(task.digest, call):
            self._lacking.discard(task.digest)

    def tag(self, digest: str, tags: Mapping[str, str]) -> None:
        """Set tags on a task's run, if it has one here; a task of several trials keeps those of the last."""
        known = self._runs.get(digest)
        if known is not None:
            run_tags = [_tag(key, value) for key, value in tags.items()]
            self._safely(digest, lambda: self._client.log_batch(known.run_id, tags=run_tags))

    def fail(self, task: Task, message: str) -> None:
        """Mark a task's run as failed."""
        self._safely(task.digest, lambda: self._fail(task, message))

    def _safely(self, digest: str, call: Callable[[], object]) -> bool:
        """Make a call, and return whether MLflow took it."""
        try:
            call()
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001  each library of a database or an artifact store has errors of its own
            if digest not in self._lacking:
                reason = reason_of(error).partition(" [SQL:")[0]
                _LOG.warning("MLflow did not take a record (%s); submit again to fill it in", reason)
            self._lacking.add(digest)
            return False
        return True

    def _begin(self, task: Task) -> None:
        known = self._run_of(task)
        self._describe(known, task)
        self._write_task_files(known, task)
        self._client.set_tag(known.run_id, STATUS, "running")
        self._client.update_run(known.run_id, status="RUNNING")
        known.status = "running"

    def _run_of(self, task: Task) -> KnownRun:
        """Return the run of a task, which is created if it has none: with its digest, so that it is found again."""
        known = self._runs.get(task.digest)
        if known is None:
            name = run_name(task)
            tags = {DIGEST: task.digest, KIND: task.kind, NAME: name}
            tags["git_commit"] = self._provenance["source"]["git_commit"]
            run = self._client.create_run(self._experiment, tags=tags, run_name=name)
            known = self._runs[task.digest] = KnownRun(run.info.run_id, "", 0)
        if early := self._early_points.get(task.digest, []):
            self._client.log_batch(known.run_id, metrics=early)
            del self._early_points[task.digest]
        return known

    def _describe(self, known: KnownRun, task: Task) -> None:
        params = {key: text for key, text in run_params(task, self._varying).items() if key not in known.params}
        batch = [Param(storable(key, MAX_NAME), storable(text, MAX_PARAM)) for key, text in params.items()]
        for start in range(0, len(batch), MAX_PARAMS_AT_ONCE):
            self._client.log_batch(known.run_id, params=batch[start : start + MAX_PARAMS_AT_ONCE])
        known.params |= set(params)

    def _write_task_files(self, known: KnownRun, task: Task) -> None:
        """Write the files of a run that has no status yet, which is set after them."""
        if not known.status:
            write_task_files(self._client, known.run_id, task, self._provenance)

    def _curve(self, task: Task, rows: Sequence[CurveRow]) -> None:
        known = self._run_of(task)
        fresh = thinned(rows, known.last_curve_step, task.total_units)
        now = int(time.time() * 1000)
        points = [
            Metric(metric_name(name), value, now, int(row["step"]))
            for row in fresh
            for name, value in row.items()
            if name != "step"
        ]
        for start in range(0, len(points), MAX_METRICS_AT_ONCE):
            self._client.log_batch(known.run_id, metrics=points[start : start + MAX_METRICS_AT_ONCE])
        if fresh:
            known.last_curve_step = int(fresh[-1]["step"])

    def _recorded_curve(self, task: Task) -> tuple[CurveRow, ...]:
        record = read_record(self._store, task.digest)
        return record.curve if record is not None else ()

    def _complete(self, task: Task, result: TaskRecord) -> None:
        """Log the numbers before the files, whose place may refuse them though the database takes the numbers."""
        known = self._run_of(task)
        self._describe(known, task)
        if isinstance(task, TrainingTask):
            self._curve(task, self._recorded_curve(task))
        now = int(time.time() * 1000)
        metrics = [Metric(shown_name(name, task), value, now, result.step) for name, value in result.metrics.items()]
        metrics.append(Metric(shown_name(SECONDS, task), result.seconds, now, 0))
        metrics.sort(key=lambda metric: metric.key.startswith(COST_PREFIX))  # the UI also draws what was logged first
        self._client.log_batch(known.run_id, metrics=metrics)
        self._client.set_terminated(known.run_id, status="FINISHED")
        self._write_task_files(known, task)
        write_result_files(self._client, known.run_id, result, self._store)
        # Last: a run that says it is done has everything.
        self._client.log_batch(known.run_id, tags=[RunTag(FAILURE, ""), RunTag(STATUS, "done")])
        known.status = "done"

    def _converged(self, training: Task, task: Task, result: TaskRecord) -> None:
        if not isinstance(task, MetricTask):
            return
        known = self._runs.get(training.digest)
        now, setting = int(time.time() * 1000), sampling_name(task.config.sampling)
        points = [
            Metric(metric_name(f"{name}/{setting}"), result.metrics[name], now, result.step)
            for name in task.protocols
            if name in result.metrics
        ]
        if known is None:  # trained by another sweep, or to be trained again: an evaluation is known, its training not
            self._early_points.setdefault(training.digest, []).extend(points)
        else:
            self._client.log_batch(known.run_id, metrics=points)

    def _fail(self, task: Task, message: str) -> None:
        known = self._run_of(task)
        for key, value in ((STATUS, "failed"), (FAILURE, storable(message, MAX_TAG))):
            self._client.set_tag(known.run_id, key, value)
        self._client.set_terminated(known.run_id, status="FAILED")
        known.status = "failed"


def run_name(task: Task) -> str:
    """Return the name of a task's run: columns show its first 20 letters, so what differs comes first."""
    title = task.title if isinstance(task, EvaluateTask) else f"{task.kind}: {task.title}"
    return storable(title, MAX_NAME)


def _tag(key: str, value: str) -> RunTag:
    return RunTag(storable(key, MAX_NAME), storable(value, MAX_TAG))
