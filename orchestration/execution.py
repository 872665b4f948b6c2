"""From a plan to its report: publish, connect, launch, analyse."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

from orchestration.display import Display, status_table
from orchestration.done import needed
from orchestration.layout import plan_file, report_directory
from orchestration.plan import Plan, plan_json, shown_path
from orchestration.problems import EXIT_TASKS_FAILED
from orchestration.provenance import environment, record_source
from orchestration.results import TaskResult
from orchestration.storage import Store
from orchestration.tracking import Tracker, resolve_uri


def execute(plan: Plan, done: dict[str, TaskResult], store: Store) -> int:
    """Runs what is missing and writes the report. Returns the exit code.

    Raises: UserError if tracking or the cluster cannot be used; nothing was started then.
    """
    started = time.monotonic()
    logging.captureWarnings(capture=True)
    uri = resolve_uri(plan.spec.runtime.tracking.uri, store, os.environ)
    provenance: dict[str, Any] = {"source": record_source(store), **environment()}
    tracker = Tracker(uri, plan.spec.name, store, provenance)
    document = plan_json(plan, uri)
    store.write(plan_file(plan.spec.name), document.encode())
    for digest, result in done.items():
        if not tracker.is_complete(digest):
            tracker.complete(plan.tasks[digest], result, plan.training_of(plan.tasks[digest]))
    failed: dict[str, str] = {}
    if needed(plan, done):
        done, failed = _launch(plan, done, store, tracker)
    else:
        print("Everything is done already; nothing is computed.")
    if tracker.num_failed_calls:
        print(f"MLflow missed {tracker.num_failed_calls} record(s); submit the sweep again to fill them in.")
    print(_report(document, plan.spec.name, shown_path(plan.spec.path), store))
    print(f"Compare runs: {_ui_command(uri)}")
    print(f"Took {time.monotonic() - started:.0f} s.")
    return EXIT_TASKS_FAILED if failed else 0


def _launch(
    plan: Plan, done: dict[str, TaskResult], store: Store, tracker: Tracker
) -> tuple[dict[str, TaskResult], dict[str, str]]:
    # Only here is Ray needed: a sweep that is done ends without it.
    from orchestration.cluster import cluster
    from orchestration.launch import Launcher

    display = Display()
    try:
        with cluster(plan.spec.runtime.workers) as capacity:
            display.say(f"Ray: {capacity.num_nodes} node(s), {capacity.num_cpus} CPUs, {capacity.num_gpus:g} GPUs")
            outcome = Launcher(plan, done, store, tracker, capacity, display).run()
    finally:
        display.close()
    states = dict.fromkeys(outcome.done, "done") | {d: f"FAILED: {why}" for d, why in outcome.failed.items()}
    display.console.print(status_table(plan, states))
    return outcome.done, outcome.failed


def _report(document: str, sweep: str, path: str, store: Store) -> str:
    """Writes the report. Returns the line that says where it is, or why there is none."""
    # The analysis pulls in matplotlib, which nothing before needs.
    from analysis.errors import UserError
    from analysis.plan_file import parse_plan
    from analysis.report import write_report

    try:
        report = write_report(parse_plan(document), store.uri(report_directory(sweep)), store.options)
    except UserError as error:
        return f"No report: {error}. Nothing that was computed is lost; later: python -m analysis {path}"
    return f"Report: {report.html}"


def _ui_command(uri: str) -> str:
    return uri if uri.startswith("http") else f"mlflow ui --backend-store-uri {uri}"
