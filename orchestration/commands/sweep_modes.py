"""The modes of `orchestration/sweep.py`: run a sweep, or print, check, stop or tidy what belongs to it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestration.artifacts.provenance import record_source
from orchestration.artifacts.task_record import TaskRecord
from orchestration.commands.garbage import ask_on_terminal, collect_garbage
from orchestration.commands.json_documents import plan_document, status_document
from orchestration.commands.record_files import export_records, import_records
from orchestration.commands.status import print_status, sweep_status
from orchestration.commands.stop import stop
from orchestration.common.errors import Problem, UserError
from orchestration.common.exit_codes import EXIT_SECOND_DRIVER
from orchestration.common.redaction import reason_of
from orchestration.config.storage import PLANNING_SECONDS
from orchestration.config.storage_root import refuse_closed_folders, unwritable
from orchestration.control import single_driver
from orchestration.control.heartbeat import BEAT_SECONDS, Driver, find_driver
from orchestration.control.notifier import Notifier
from orchestration.launch.notices import notifications_of_end, tell_of_lost_driver
from orchestration.launch.summary import print_missing, print_plan, print_searches
from orchestration.plan.completed import completed_records
from orchestration.plan.estimate import Estimate, estimate_from
from orchestration.plan.plan import Plan, make_plan
from orchestration.plan.preflight import missing_inputs, open_root, resolve_paths
from orchestration.plan.progress import Progress, progress_of
from orchestration.search.plan_rows import published_trials, with_published_trials
from orchestration.search.study_address import search_storage
from orchestration.spec.layers import NO_LAYERS, Layers
from orchestration.spec.load import SweepSpec, load_sweep
from orchestration.spec.origins import row_text
from orchestration.spec.search.trial import SearchTrial
from orchestration.storage.layout import FOLDERS, PLANS, lease_directory, report_directory
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.tracking.uri import resolve_uri
from orchestration.training.fault_hook import fault_problems

_UNREADABLE = (OSError, StorageUnavailableError)
"""Errors of a storage, where others would be ours. Folders of a colleague's root may be closed one by one."""


def run_mode(
    mode: str,
    path: Path,
    overrides: Sequence[str],
    layers: Layers = NO_LAYERS,
    *,
    confirmed: bool,
    row: str | None = None,
    folder: str | None = None,
    verbose: bool = False,
    as_json: bool = False,
) -> int:
    """Return the exit code of one mode: "run", "dry-run", "check", "status", "errors", "export-records",
    "import-records", "stop" or "gc".

    Args: layers: files under and over the sweep. confirmed: "gc" removes without asking. row: only print it.
        folder: of records.
        verbose: tables have a line a task, not a line a row. as_json: "dry-run" and "status" print JSON alone.
    Raises: UserError with all mistakes in the file, or if its storage root cannot be used.
    """
    spec = load_sweep(path, overrides, layers, kept_listings=mode != "run")
    spec = resolve_paths(spec, os.environ, Path.cwd())
    if row is not None:
        print(row_text(spec, row), end="")
        return 0
    if mode in ("stop", "gc"):
        return _stop_or_collect(mode, spec, confirmed=confirmed)
    return _plan_and_run(mode, spec, folder=folder, verbose=verbose, as_json=as_json)


def _stop_or_collect(mode: str, spec: SweepSpec, *, confirmed: bool) -> int:
    storage = spec.runtime.storage
    patient = open_root(spec, storage.at_most(PLANNING_SECONDS), writable=False)
    with _readable(patient):
        patient.names(PLANS)
    if mode == "stop":
        with _readable(patient, _UNREADABLE):
            return stop(patient, spec.name)
    store = Store(storage.root, storage.options, storage.retry_policy)
    with _readable(store, _UNREADABLE):
        return collect_garbage(store, confirmed=confirmed, ask=ask_on_terminal)


_NEED_FILES = ("run", "status", "errors", "export-records", "import-records")
"""Modes that ask for stored results by digests, which absent files do not have yet."""
_WRITING = ("run", "errors", "import-records")


@dataclass(frozen=True)
class PlannedSweep:
    """A plan, and what the store holds of it."""

    spec: SweepSpec
    """The sweep without the trials of its searches."""
    plan: Plan
    trials: Mapping[str, Sequence[SearchTrial]]
    done: dict[str, TaskRecord]
    progress: Progress
    missing: Sequence[Problem]
    store: Store
    """It is asked for no longer than planning may take."""


def _plan_and_run(mode: str, spec: SweepSpec, *, folder: str | None, verbose: bool, as_json: bool) -> int:
    storage = spec.runtime.storage
    patient = open_root(spec, storage.at_most(PLANNING_SECONDS), writable=False)
    # The digests of a sweep with absent files are no real ones: --status would call what is done undone.
    missing = [*_obstacles(mode, spec, patient)] if mode != "status" else spec.absent
    if missing and mode in _NEED_FILES:
        raise UserError(missing)
    store = open_root(spec, storage, writable=True) if mode in _WRITING else patient
    if store is not patient:
        refuse_closed_folders(store, [*FOLDERS, lease_directory(spec.name), report_directory(spec.name)])
    planned = read_sweep(spec, patient, missing)
    if mode in ("errors", "export-records", "import-records"):
        with _readable(patient, (StorageUnavailableError,)):  # a folder of records is none of the root
            print(_changed_records(mode, planned, store, folder))
        return 0
    if mode == "status":
        _print_status(planned, verbose=verbose, as_json=as_json)
        return 0
    estimate = _print_plan(planned, verbose=verbose, as_json=as_json)
    if mode == "check":
        from orchestration.commands.check_models import check  # needs torch

        check(planned.plan)
    if mode == "run":
        return _run(planned, store, estimate, verbose=verbose)
    if not as_json:
        print_missing(missing, spec.absent)
    if mode == "dry-run" and (not patient.is_local or Path(patient.root).is_dir()):
        _record_source(patient)
    return 0


def _obstacles(mode: str, spec: SweepSpec, store: Store) -> Iterator[Problem]:
    """Yield what would stop the sweep here before it starts anything."""
    yield from missing_inputs(spec)
    yield from fault_problems(os.environ)
    if mode in ("dry-run", "check"):
        yield from unwritable(store)
    if mode in ("dry-run", "check", "run"):
        yield from _without_a_database(spec, store)


def _without_a_database(spec: SweepSpec, store: Store) -> Iterator[Problem]:
    """Yield why MLflow, or a search's trials, have no place."""
    tracking = spec.runtime.tracking
    try:
        resolve_uri(tracking.uri, store, os.environ, insecure_http=tracking.insecure_http)
    except UserError as error:
        yield from error.problems
    try:
        if spec.searches:
            search_storage(spec.runtime.search_storage, store, os.environ)
    except UserError as error:
        yield from error.problems


def _changed_records(mode: str, planned: PlannedSweep, store: Store, folder: str | None) -> str:
    """Compute, export or import records; return what was done."""
    if mode == "errors":
        from orchestration.commands.recompute_errors import recompute_errors  # needs torch

        return recompute_errors(planned.plan, planned.done, store)
    assert folder is not None, "sweep.py gives a folder with these modes"
    if mode == "export-records":
        return export_records(planned.plan, planned.done, store, folder)
    return import_records(planned.plan, store, folder)


def read_sweep(spec: SweepSpec, store: Store, missing: Sequence[Problem] = ()) -> PlannedSweep:
    """Plan a sweep, and read how far it is. Raises: UserError."""
    with _readable(store):
        trials = published_trials(spec, store) if spec.searches else {}
        plan = make_plan(with_published_trials(spec, trials) if spec.searches else spec)
        done = completed_records(store, plan)
        return PlannedSweep(spec, plan, trials, done, progress_of(store, plan, done), missing, store)


def _print_status(planned: PlannedSweep, *, verbose: bool, as_json: bool) -> None:
    plan, store = planned.plan, planned.store
    with _readable(store, _UNREADABLE):
        status = sweep_status(plan, planned.done, store, planned.progress)
        if as_json:
            print(status_document(plan, status))
        else:
            print_status(plan, planned.done, store, status, verbose=verbose)
            print_searches(plan, planned.trials, status.left)
        notifier = Notifier(plan.spec.runtime.notify, plan.spec.name, os.environ)
        if notifier.is_on:
            tell_of_lost_driver(notifier, plan.spec.name, find_driver(store, plan.spec.name), store)
        notifier.close()


def _print_plan(planned: PlannedSweep, *, verbose: bool, as_json: bool) -> Estimate:
    """Print the plan; return what is left to do."""
    plan, store = planned.plan, planned.store
    with _readable(store, _UNREADABLE):
        estimate = estimate_from(store, plan, planned.done, planned.progress)
        if as_json:
            print(plan_document(plan, planned.done, estimate, planned.missing))
        else:
            print_plan(plan, planned.done, store, planned.progress, estimate, verbose=verbose)
            print_searches(plan, planned.trials, estimate)
    return estimate


def _run(planned: PlannedSweep, store: Store, estimate: Estimate, *, verbose: bool) -> int:
    """Run a sweep that no other driver has. Args: store: with the patience of a run. Return the exit code."""
    from orchestration.launch.run_sweep import run_sweep  # needs MLflow

    spec = planned.spec
    try:
        planned, lost = take_over(planned)
    except single_driver.SecondDriverError as error:
        print(error, file=sys.stderr)
        return EXIT_SECOND_DRIVER
    notifier = Notifier(spec.runtime.notify, spec.name, os.environ)
    with notifications_of_end(notifier, spec.name) as told:
        tell_of_lost_driver(notifier, spec.name, lost, store)
        told.exit_code = run_sweep(
            spec, planned.plan, planned.done, store, planned.progress, estimate, notifier=notifier, verbose=verbose
        )
    return told.exit_code


def take_over(planned: PlannedSweep) -> tuple[PlannedSweep, Driver]:
    """Return the sweep as it is once nobody runs it, and its last driver. Args: planned: as it was read before.

    Raises: SecondDriverError; UserError.
    """
    began = time.monotonic()
    with _readable(planned.store, _UNREADABLE):
        last = single_driver.ensure_single_driver(planned.store, planned.spec.name)
    if time.monotonic() - began > BEAT_SECONDS / 2:  # its beats were watched: what it had begun may be done by now
        planned = read_sweep(planned.spec, planned.store, planned.missing)
    return planned, last


def _record_source(store: Store) -> None:
    """Record commit and diff for jobs that run without .git; a root that is not there yet is not made for it."""
    try:
        record_source(store)
    except Exception as error:  # noqa: BLE001  any storage library: it may be one that is only read
        print(f"Commit and diff are not recorded for jobs: {reason_of(error, store.options)}", file=sys.stderr)


@contextmanager
def _readable(store: Store, kinds: tuple[type[Exception], ...] = (Exception,)) -> Iterator[None]:
    """Translate errors, by default any of any storage library: this root cannot be used.

    Raises: UserError.
    """
    try:
        yield
    except UserError:
        raise
    except kinds as error:
        raise UserError.of("storage.root", f"cannot read {store.root} ({reason_of(error, store.options)})") from None
