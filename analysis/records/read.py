"""Reads the records of a sweep: from the storage root and MLflow, or from the one of them that can be reached."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from analysis.errors import TrackingUnreachableError, UserError
from analysis.plan.model import PublishedPlan
from analysis.records.from_storage import read_record_files
from analysis.records.record import Record
from analysis.records.stored_files import StorageRoot

if TYPE_CHECKING:
    from analysis.records.from_mlflow import Reading


@dataclass(frozen=True)
class RecordSet:
    """The records that a report is made of."""

    records: dict[str, Record]
    """By digest."""
    notes: tuple[str, ...] = ()
    """Facts about the experiment as a whole that a reader has to know."""
    alarm: str = ""
    """Text above everything: where the numbers come from, if MLflow is away."""


def read_records(plan: PublishedPlan, storage: StorageRoot | None) -> RecordSet:
    """Return the records of a plan; without MLflow those of the storage root alone.

    Args: storage: the place of the records; None if they are not to be read.

    Raises: UserError if neither can be read, or MLflow cannot and no task has a record.
    """
    stored, problem = _read_stored(plan, storage)
    try:
        reading = _join(plan, stored, problem, with_params=False)
    except TrackingUnreachableError as error:
        if problem is not None:
            raise problem from error
        if storage is None or not stored:
            raise
        return RecordSet(stored, alarm=_alarm(error, storage))
    return RecordSet(reading.records, reading.notes)


def read_with_runs(plan: PublishedPlan, storage: StorageRoot | None) -> Reading:
    """Return the records of a plan and all runs of its experiment, with their params.

    Raises: UserError if the tracking server cannot be reached.
    """
    return _join(plan, *_read_stored(plan, storage), with_params=True)


def _read_stored(plan: PublishedPlan, storage: StorageRoot | None) -> tuple[dict[str, Record], UserError | None]:
    """Return the records in the storage root, or why it cannot be read."""
    try:
        return ({} if storage is None else read_record_files(plan, storage)), None
    except UserError as error:
        return {}, error


def _join(plan: PublishedPlan, stored: dict[str, Record], problem: UserError | None, *, with_params: bool) -> Reading:
    from analysis.records.from_mlflow import read  # which imports MLflow

    reading = read(plan, stored, with_params=with_params)
    if problem is None:
        return reading
    return replace(reading, notes=(*reading.notes, f"{problem}. Every number is MLflow's."))


def _alarm(error: TrackingUnreachableError, storage: StorageRoot) -> str:
    return (
        f"Without MLflow: {error.address} could not be read ({error.reason}). Every number is that of the task's "
        f"record in {storage.root}, from which MLflow is filled. What runs or failed is shown as missing; runs that "
        "were deleted or changed in MLflow, code versions, machines and links to runs are not known here."
    )
