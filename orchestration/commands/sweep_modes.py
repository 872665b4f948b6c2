"""The modes of `orchestration/sweep.py`: run a sweep, or print, check, stop or tidy what belongs to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orchestration.artifacts.provenance import record_source
from orchestration.commands.garbage import ask_on_terminal, collect_garbage
from orchestration.commands.status import print_status
from orchestration.commands.stop import stop
from orchestration.common.errors import UserError
from orchestration.common.exit_codes import EXIT_SECOND_DRIVER
from orchestration.common.redaction import reason_of
from orchestration.config.storage import PLANNING_SECONDS
from orchestration.control import single_driver
from orchestration.control.heartbeat import find_driver
from orchestration.control.notifier import Notifier
from orchestration.launch.notices import notifications_of_end, tell_of_lost_driver
from orchestration.launch.summary import print_missing, print_plan, print_searches
from orchestration.plan.completed import completed_records
from orchestration.plan.estimate import estimate_from
from orchestration.plan.plan import make_plan
from orchestration.plan.preflight import missing_inputs, open_store, resolve_paths
from orchestration.plan.progress import progress_of
from orchestration.search.plan_rows import published_trials, with_published_trials
from orchestration.spec.layers import NO_LAYERS, Layers
from orchestration.spec.load import SweepSpec, load_sweep
from orchestration.spec.origins import row_text
from orchestration.storage.layout import PLANS
from orchestration.storage.retry import StorageUnavailableError
from orchestration.storage.store import Store
from orchestration.training.fault_hook import fault_problems


def run_mode(
    mode: str,
    path: Path,
    overrides: Sequence[str],
    layers: Layers = NO_LAYERS,
    *,
    confirmed: bool,
    row: str | None = None,
    verbose: bool = False,
) -> int:
    """Return the exit code of one mode: "run", "dry-run", "check", "status", "errors", "stop" or "gc".

    Args: layers: files under and over the sweep. confirmed: "gc" removes without asking. row: only print it.
        verbose: tables have a line a task, not a line a row.
    Raises: UserError with all mistakes in the file, or if its storage root cannot be used.
    """
    spec = load_sweep(path, overrides, layers, kept_listings=mode != "run")
    spec = resolve_paths(spec, os.environ, Path.cwd())
    if row is not None:
        print(row_text(spec, row), end="")
        return 0
    if mode in ("stop", "gc"):
        return _stop_or_collect(mode, spec, confirmed=confirmed)
    return _plan_and_run(mode, spec, verbose=verbose)


def _stop_or_collect(mode: str, spec: SweepSpec, *, confirmed: bool) -> int:
    storage = spec.runtime.storage
    patient = open_store(storage.at_most(PLANNING_SECONDS), writable=False)
    with _readable(patient):
        patient.names(PLANS)
    if mode == "stop":
        with _readable(patient, StorageUnavailableError):
            return stop(patient, spec.name)
    store = Store(storage.root, storage.options, storage.retry_policy)
    return collect_garbage(store, confirmed=confirmed, ask=ask_on_terminal)


def _plan_and_run(mode: str, spec: SweepSpec, *, verbose: bool) -> int:
    storage = spec.runtime.storage
    patient = open_store(storage.at_most(PLANNING_SECONDS), writable=False)
    # The digests of a sweep with absent files are no real ones: --status would call what is done undone.
    missing = [*missing_inputs(spec), *fault_problems(os.environ)] if mode != "status" else spec.absent
    if missing and mode in ("run", "status", "errors"):
        raise UserError(missing)
    store = open_store(storage, writable=True) if mode in ("run", "errors") else patient
    with _readable(patient):
        trials = published_trials(spec, patient) if spec.searches else {}
        plan = make_plan(with_published_trials(spec, trials))
        done = completed_records(patient, plan)
        progress = progress_of(patient, plan, done)
    if mode == "errors":
        from orchestration.commands.recompute_errors import recompute_errors  # needs torch

        with _readable(patient, StorageUnavailableError):
            print(recompute_errors(plan, done, store))
        return 0
    with _readable(patient, StorageUnavailableError):
        if mode == "status":
            print_status(plan, done, patient, progress, verbose=verbose)
            notifier = Notifier(spec.runtime.notify, spec.name, os.environ)
            if notifier.is_on:
                tell_of_lost_driver(notifier, spec.name, find_driver(patient, spec.name), patient)
            notifier.close()
            print_searches(plan, trials)
            return 0
        estimate = estimate_from(patient, plan, done, progress)
        print_plan(plan, done, patient, progress, estimate, verbose=verbose)
        print_searches(plan, trials)
    if mode == "check":
        from orchestration.commands.check_models import check  # needs torch

        check(plan)
    if mode != "run":
        print_missing(missing, spec.absent)
        if mode == "dry-run" and (not patient.is_local or Path(patient.root).is_dir()):
            _record_source(patient)
        return 0
    from orchestration.launch.run_sweep import run_sweep  # needs MLflow

    try:
        with _readable(patient, StorageUnavailableError):
            lost = single_driver.ensure_single_driver(patient, spec.name)
    except single_driver.SecondDriverError as error:
        print(error, file=sys.stderr)
        return EXIT_SECOND_DRIVER
    notifier = Notifier(spec.runtime.notify, spec.name, os.environ)
    with notifications_of_end(notifier, spec.name) as told:
        tell_of_lost_driver(notifier, spec.name, lost, store)
        told.exit_code = run_sweep(spec, plan, done, store, progress, estimate, notifier=notifier, verbose=verbose)
    return told.exit_code


def _record_source(store: Store) -> None:
    """Record commit and diff for jobs that run without .git; a root that is not there yet is not made for it."""
    try:
        record_source(store)
    except Exception as error:  # noqa: BLE001  any storage library: it may be one that is only read
        print(f"Commit and diff are not recorded for jobs: {reason_of(error, store.options)}", file=sys.stderr)


@contextmanager
def _readable(store: Store, kind: type[Exception] = Exception) -> Iterator[None]:
    """Translate errors, by default any of any storage library: this root cannot be used.

    Raises: UserError.
    """
    try:
        yield
    except UserError:
        raise
    except kind as error:
        raise UserError.of("storage.root", f"cannot read {store.root} ({reason_of(error, store.options)})") from None
