"""From a plan to its report: publish, connect, launch, analyse."""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analysis.errors import UserError
from orchestration.artifacts.provenance import environment, record_source
from orchestration.artifacts.task_record import TaskRecord
from orchestration.common.exit_codes import EXIT_TASKS_FAILED, EXIT_TRACKING_INCOMPLETE
from orchestration.common.project import ROOT
from orchestration.common.redaction import reason_of
from orchestration.config.ray_job import JOB_VARIABLE
from orchestration.control.budget_meter import BudgetMeter
from orchestration.control.notifier import Notifier
from orchestration.control.outcome import Outcome
from orchestration.launch.launch_context import LaunchContext
from orchestration.launch.progress_display import Display
from orchestration.launch.session import Launch, launch_on_ray, run_within_budget
from orchestration.launch.summary import early_exit_text, snapshots_text
from orchestration.plan.completed import tasks_to_run
from orchestration.plan.estimate import Estimate, estimate_from
from orchestration.plan.plan import Plan
from orchestration.plan.plan_json import plan_json, shown_path
from orchestration.plan.progress import Progress, progress_of
from orchestration.spec.load import SweepSpec
from orchestration.storage.layout import plan_file, report_directory
from orchestration.storage.store import Store
from orchestration.tracking.async_tracker import TrackingQueue
from orchestration.tracking.mlflow_tracker import Tracker
from orchestration.tracking.run_params import varying_settings
from orchestration.tracking.uri import resolve_uri, uri_source

if TYPE_CHECKING:
    from orchestration.search.searches import Searches
    from orchestration.tracking.tracker import TaskTracker

_MANY_CALLS = 100
_MLFLOW_UI = ("-m", "mlflow", "ui", "--backend-store-uri")


def run_sweep(
    spec: SweepSpec,
    plan: Plan,
    done: dict[str, TaskRecord],
    store: Store,
    progress: Progress,
    estimate: Estimate,
    *,
    notifier: Notifier | None = None,
    verbose: bool = False,
) -> int:
    """Run what is missing and write the report. Return the exit code.

    Args: spec: without the trials of searches. plan: with those that were published last: Optuna knows what came after.
        done, progress, estimate: of the plan. notifier: told of tasks that fail. verbose: print every task in the end,
        not a line a row.
    Raises: UserError if tracking or the cluster cannot be used; nothing was started then.
    """
    started = time.monotonic()
    logging.captureWarnings(capture=True)
    tracking = plan.spec.runtime.tracking
    uri = resolve_uri(tracking.uri, store, os.environ, insecure_http=tracking.insecure_http)
    provenance: dict[str, Any] = {"source": record_source(store), **environment()}
    where = uri_source(tracking.uri, os.environ)
    tracker = TrackingQueue(Tracker(uri, plan.spec.name, store, provenance, varying_settings(plan), where))
    published = _Published(store, uri)
    searches = _searches(spec, plan, store, tracker, published)
    plan, outcome = compute_missing(
        plan, done, store, progress, estimate, tracker, published.publish, searches, notifier=notifier, verbose=verbose
    )
    early_exit = outcome.early_exit
    if early_exit is not None and early_exit.is_fenced:
        print(f"{early_exit.reason}: {early_exit.how_to_go_on}.")  # MLflow and the report are another's
        return early_exit.exit_code
    if searches is not None:
        print("\n".join(searches.texts()))
    _tell_the_rest(tracker)
    if plan.spec.runtime.tracking.register_best:
        print(_registered(plan, outcome, uri, store))
    report, link = _report(published.document, plan.spec, store)
    print(report)
    print(snapshots_text(plan, outcome, store))
    print(compare_text(uri, link))
    if early_exit is not None:
        left = estimate_from(store, plan, outcome.done, progress_of(store, plan, outcome.done))
        print(early_exit_text(early_exit, left))
    print(f"Took {time.monotonic() - started:.0f} s.")
    return exit_code_of(outcome, searches, tracker)


def compute_missing(
    plan: Plan,
    done: dict[str, TaskRecord],
    store: Store,
    progress: Progress,
    estimate: Estimate,
    tracker: TaskTracker,
    publish: Callable[[Plan], None],
    searches: Searches | None,
    *,
    notifier: Notifier | None = None,
    verbose: bool = False,
    display: Display | None = None,
    launch: Launch = launch_on_ray,
) -> tuple[Plan, Outcome]:
    """Publish the plan, run what is missing, and return the plan as it is then, and the outcome.

    Args: plan, done, progress, estimate, notifier, verbose: as of `run_sweep`. publish: is given every plan. display:
        None: one on the standard output. launch: runs the tasks on a cluster.
    """
    if searches is None:
        publish(plan)
    else:
        done = {digest: record for digest, record in done.items() if digest in searches.plan.tasks}
    _fill(tracker, plan, done)
    outcome = Outcome(dict(done))
    if searches is not None:
        searches.begin(outcome)
        searches.advance(outcome, 1)  # completed trials need no Ray
        plan = searches.plan
    if tasks_to_run(plan, outcome.done):
        workers = plan.spec.runtime.workers
        meter = BudgetMeter(progress.seconds, workers, counted=progress.counted)
        context = LaunchContext(
            plan,
            store,
            outcome,
            tracker,
            display or Display(),
            meter,
            searches,
            estimate.speeds,
            progress.steps,
            notifier,
            verbose,
        )
        run_within_budget(context, estimate, launch)
    else:
        print("Everything is done already; nothing is computed.")
    return plan if searches is None else searches.plan, outcome


def exit_code_of(outcome: Outcome, searches: Searches | None, tracker: TaskTracker) -> int:
    """Return the exit code of a submission that has told its tracker everything."""
    if outcome.early_exit is not None:
        return outcome.early_exit.exit_code
    if outcome.failed or (searches is not None and searches.problems):
        return EXIT_TASKS_FAILED
    return EXIT_TRACKING_INCOMPLETE if tracker.num_lacking else 0


def _tell_the_rest(tracker: TrackingQueue) -> None:
    if tracker.num_waiting > _MANY_CALLS:
        print(f"MLflow is told of the rest: {tracker.num_waiting} calls.", flush=True)
    tracker.flush()
    if tracker.num_lacking:
        tasks = "1 task" if tracker.num_lacking == 1 else f"{tracker.num_lacking} tasks"
        print(
            f"Tracking is incomplete: MLflow did not take all of {tasks} (why is above). The numbers are stored "
            "and in the report; the same command fills them in once MLflow can be written."
        )


def _fill(tracker: TaskTracker, plan: Plan, done: dict[str, TaskRecord]) -> None:
    """Tell MLflow what it lacks of the tasks that are done."""
    for digest, result in done.items():
        task = plan.tasks[digest]
        if tracker.is_complete(digest):
            tracker.describe(task)
        else:
            tracker.complete(task, result, plan.training_of(task))


def _registered(plan: Plan, outcome: Outcome, uri: str, store: Store) -> str:
    from orchestration.launch.standings import best_snapshots  # the analysis comes with it
    from orchestration.tracking.model_registry import ModelRegistry  # needs torch

    snapshots = best_snapshots(plan, outcome.done, outcome.failed)
    return "\n".join(["Registered models:", *ModelRegistry(uri, store).register(plan, snapshots)])


class _Published:
    """Publishes plans, and holds the text of the last one."""

    def __init__(self, store: Store, tracking_uri: str) -> None:
        self._store, self._tracking_uri = store, tracking_uri
        self.document = ""

    def publish(self, plan: Plan) -> None:
        self.document = plan_json(plan, self._tracking_uri)
        self._store.write(plan_file(plan.spec.name), self.document.encode())


def _searches(
    spec: SweepSpec, plan: Plan, store: Store, tracker: TrackingQueue, published: _Published
) -> Searches | None:
    if not spec.searches:
        return None
    from orchestration.search.searches import open_searches  # needs Optuna

    return open_searches(spec, plan, store, tracker, published.publish, os.environ)


def _report(document: str, spec: SweepSpec, store: Store) -> tuple[str, str]:
    """Write the report. Return results and its place, or why there is none, and how to make it; and the link to the
    runs in MLflow, "" if that was not read."""
    try:
        # The analysis pulls in matplotlib, which nothing before needs.
        from analysis.plan.read import parse_plan
        from analysis.records.stored_files import StorageRoot
        from analysis.report.build import write_report

        output, records = store.uri(report_directory(spec.name)), StorageRoot(store.root, store.options)
        report = write_report(parse_plan(document), output, store.options, records)
    except Exception as error:  # noqa: BLE001  any library of the report: everything is computed by then
        reason = str(error) if isinstance(error, UserError) else reason_of(error, store.options)
        again = _analysis_command(spec, store)
        return f"No report: {reason}. Nothing that was computed is lost; later: {again}", ""
    return "\n".join(filter(None, [report.results, report.alarm, f"Report: {report.html}"])), report.runs_url


def _analysis_command(spec: SweepSpec, store: Store) -> str:
    """Return the command that writes the report, from any directory; from the project's own where a job ran."""
    if JOB_VARIABLE in os.environ:  # the job's copy of the project goes with it
        return shlex.join(["python", "-m", "analysis", shown_path(spec.path), "--storage", store.root])
    command = [sys.executable, "-m", "analysis", str(Path(spec.path).resolve()), "--storage", store.root]
    return f"cd {shlex.quote(str(ROOT))} && {shlex.join(command)}"


def compare_text(uri: str, link: str) -> str:
    """Return where the runs are compared. Args: link: to the runs of the last evaluations, "" if it is not known."""
    command = ui_command(uri)
    if not link or command == uri:
        return f"Compare runs: {link or command}"
    return f"Compare runs: {command}\n  then open {link}"


def ui_command(uri: str) -> str:
    """Return what shows the runs: a server's address, or the command that serves a database."""
    is_server = urlsplit(uri).scheme in ("http", "https")
    return uri if is_server else shlex.join([sys.executable, *_MLFLOW_UI, uri])
