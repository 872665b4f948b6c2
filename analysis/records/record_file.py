"""The content of a result.json, and a packed form that a cache reads again in a hundredth of the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow.json import ReadOptions, read_json

from analysis.records.about import json_object
from analysis.records.record import has_history
from analysis.tracking.history import MetricHistory

_BEGIN, _END, _BETWEEN = b'"curve": [', b"]", b"}, {"
"""Text around and between the rows of a curve, as records are written."""
Curves = dict[str, MetricHistory]


class RecordContent(NamedTuple):
    """A result.json as it was read."""

    fields: dict[str, Any]
    """All but the curve; empty if it is no JSON object."""
    curves: Curves
    """Losses by name."""
    problem: str = ""
    """Why it could not be read."""


def pack_record(data: bytes) -> bytes:
    """Return a result.json's content as a line of JSON and the bytes of its curves; a broken one gives its problem."""
    content = _parse(data)
    lengths = {name: len(curve) for name, curve in content.curves.items()}
    header = json.dumps([content.fields, lengths, content.problem]).encode()
    return b"\n".join([header, *(curve.to_bytes() for curve in content.curves.values())])


def unpack_record(packed: bytes) -> RecordContent:
    """Return what `pack_record` packed."""
    header, _, _ = packed.partition(b"\n")
    fields, lengths, problem = json.loads(header)
    curves, start, view = {}, len(header) + 1, memoryview(packed)
    for name, length in lengths.items():
        curves[name] = MetricHistory.from_bytes(view[start : start + 16 * length])
        start += 16 * length + 1
    return RecordContent(fields, curves, problem)


def reason_of(error: Exception) -> str:
    """Return why a record is none, for people."""
    return f"lacks {error}" if isinstance(error, KeyError) else str(error)


def _parse(data: bytes) -> RecordContent:
    """Read the curve, nearly all of a record, by Arrow, which takes a third of the time; what it refuses by json."""
    before, begin, rest = data.partition(_BEGIN)
    rows, end, after = rest.partition(_END)
    fields = json_object(before + begin + end + after)
    if fields is not None and fields.get("curve") == [] and _BEGIN not in after:
        curves = _curves_by_arrow(rows) if rows else {}
        if curves is not None:
            del fields["curve"]
            return RecordContent(fields, curves)
    fields = json_object(data)
    if fields is None:
        return RecordContent({}, {}, "not a JSON object")
    try:
        return RecordContent(fields, _curves(fields.pop("curve")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return RecordContent(fields, {}, reason_of(error))


def _curves_by_arrow(rows: bytes) -> Curves | None:
    """Return the losses of rows, or None if Arrow cannot read them, as it does not read NaN."""
    try:
        lines = pa.BufferReader(rows.replace(_BETWEEN, b"}\n{"))
        table = read_json(lines, ReadOptions(use_threads=False, block_size=len(rows) + 1)).combine_chunks()
    except pa.ArrowInvalid:
        return None
    if not all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in table.schema.types):
        return None
    if "step" not in table.column_names or table["step"].null_count:
        return None
    steps = table["step"].to_numpy().astype(np.int64)
    curves = {}
    for name in sorted(filter(has_history, table.column_names)):
        column = table[name]
        present = column.is_valid().to_numpy()
        curves[name] = MetricHistory(steps[present], column.to_numpy()[present].astype(np.float64))
    return curves


def _curves(rows: Iterable[Mapping[str, float]]) -> Curves:
    rows = list(rows)
    names = sorted({name for row in rows for name in row if has_history(name)})
    return {
        name: MetricHistory.of((int(row["step"]), float(row[name])) for row in rows if name in row) for name in names
    }
