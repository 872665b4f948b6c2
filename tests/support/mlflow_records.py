"""Records of a plan out of MLflow, for tests."""

from __future__ import annotations

from analysis.plan.model import PublishedPlan
from analysis.records import read
from analysis.records.record import Record


def read_records(plan: PublishedPlan) -> dict[str, Record]:
    """Records by digest; a digest nothing was recorded for is absent.

    Raises: UserError if the tracking server or database cannot be reached.
    """
    return read.read_records(plan, None).records
