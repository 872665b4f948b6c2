"""Lines of a table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.contract.printable import as_cell


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Write a header and the columns of each line; columns that a line lacks are empty, other keys are left out."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: as_cell(value) for key, value in line.items()} for line in lines)
    return buffer.getvalue()
