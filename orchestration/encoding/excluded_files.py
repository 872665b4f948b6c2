"""Samples that an encoding left out: in the task's files, in its record, and in the line that says why it failed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from analysis.contract.printable import as_cell
from dfm_core.data.files.folder_report import BadFile, UnusableFolderError
from orchestration.storage.layout import TaskPaths
from orchestration.storage.store import Store

LEFT_OUT = "left_out.csv"
_MAX_LISTED = 100


def write_left_out(store: Store, digest: str, bad: Sequence[BadFile]) -> None:
    """Write the list of all that a task left out."""
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(("file", "fault", "reason"))
    rows.writerows(map(as_cell, (one.file, one.fault, one.reason)) for one in bad)
    store.write(TaskPaths(digest).result_file(LEFT_OUT), text.getvalue().encode(errors="backslashreplace"))


def listed(bad: Sequence[BadFile]) -> list[str]:
    """Return the first of all that was left out, for a record."""
    return [str(one) for one in bad[:_MAX_LISTED]]


@contextmanager
def in_one_line() -> Iterator[None]:
    """Turn a dataset's report of many lines into a ValueError of one, as a task's failure is shown."""
    try:
        yield
    except (UnusableFolderError, ValueError) as error:
        raise ValueError(" | ".join(line.strip() for line in str(error).splitlines())) from None
