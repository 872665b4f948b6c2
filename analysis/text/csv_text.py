"""Lines of a table as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def csv_text(columns: Sequence[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Write a header and the columns of each line; columns that a line lacks are empty, other keys are left out."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _quoted(value) for key, value in line.items()} for line in lines)
    return buffer.getvalue()


def _quoted(value: Any) -> Any:
    """Return a text that a spreadsheet would take for a formula with a quote before it; numbers are none."""
    if not isinstance(value, str) or not value.lstrip().startswith(("=", "+", "-", "@")):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
