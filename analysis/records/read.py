"""Reads the records of a sweep: from the storage root and MLflow, or from the one of them that can be reached."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from analysis.errors import TrackingUnreachableError, UserError
from analysis.plan.model import PublishedPlan
from analysis.records.error_kinds import mixed_errors_notes
from analysis.records.from_storage import read_record_files
from analysis.records.record import Reading, Record
from analysis.records.stored_files import StorageRoot


@contextmanager
def _without_collection() -> Iterator[None]:
    """Collect no garbage meanwhile: it would be looked for again and again among millions of objects that stay."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def read_records(plan: PublishedPlan, storage: StorageRoot | None, *, whole_runs: bool = False) -> Reading:
    """Return the records of a plan and the runs of its experiment; without MLflow the storage root's records alone.

    Args: storage: the place of the records; None if they are not to be read. whole_runs: whether all runs are wanted
        with their params, and so MLflow.

    Raises: UserError if neither can be read, or MLflow cannot and no task has a record or `whole_runs` are wanted.
    """
    from analysis.records.from_mlflow import find_runs, join  # which imports MLflow

    stored: dict[str, Record] = {}
    problem: UserError | None = None
    with _without_collection(), ThreadPoolExecutor(1) as pool:
        experiment_runs = pool.submit(find_runs, plan, with_params=whole_runs)
        try:
            stored = {} if storage is None else read_record_files(plan, storage)
        except UserError as error:
            problem = error
        try:
            reading = _with_notes(plan, join(plan, experiment_runs.result(), stored))
        except TrackingUnreachableError as error:
            if problem is not None and not whole_runs:
                raise problem from error
            if storage is None or not stored or whole_runs:
                raise
            return _with_notes(plan, Reading(stored, alarm=_alarm(error, storage)))
    return replace(reading, notes=(*reading.notes, f"{problem}. Every number is MLflow's.")) if problem else reading


def _with_notes(plan: PublishedPlan, reading: Reading) -> Reading:
    return replace(reading, notes=(*reading.notes, *mixed_errors_notes(plan, reading.records)))


def _alarm(error: TrackingUnreachableError, storage: StorageRoot) -> str:
    return (
        f"Without MLflow: {error.address} could not be read ({error.reason}). Every number is that of the task's "
        f"record in {storage.root}, from which MLflow is filled. What runs or failed is shown as missing; runs that "
        "were deleted or changed in MLflow, code versions, machines and links to runs are not known here."
    )
