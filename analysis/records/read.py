"""What a sweep found: out of MLflow, or where that is away out of the records in the storage root, which is said."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.errors import TrackingUnreachableError
from analysis.plan.model import PublishedPlan
from analysis.records.from_storage import StorageRoot, read_record_files
from analysis.records.record import Record


@dataclass(frozen=True)
class RecordSet:
    """What a report is made of."""

    records: dict[str, Record]
    """By digest."""
    notes: tuple[str, ...] = ()
    """What a reader has to know of the experiment as a whole."""
    alarm: str = ""
    """What stands above everything: where the numbers come from, if that is not MLflow."""


def read_records(plan: PublishedPlan, storage: StorageRoot | None) -> RecordSet:
    """What MLflow holds for a plan, else what the records say.

    Args: storage: where the records lie; None if they are not to be asked.

    Raises: UserError if neither can be read, or MLflow cannot and no task has a record.
    """
    from analysis.records.from_mlflow import read  # which imports MLflow

    try:
        reading = read(plan)
    except TrackingUnreachableError as error:
        records = read_record_files(plan, storage) if storage is not None else {}
        if storage is None or not records:
            raise
        return RecordSet(records, alarm=_alarm(error, storage))
    return RecordSet(reading.records, reading.notes)


def _alarm(error: TrackingUnreachableError, storage: StorageRoot) -> str:
    return (
        f"Without MLflow: {error.address} could not be read ({error.reason}). Every number is that of the task's "
        f"record in {storage.root}, from which MLflow is filled. What runs or failed is shown as missing; runs that "
        "were deleted or changed in MLflow, code versions, machines and links to runs are not known here."
    )
