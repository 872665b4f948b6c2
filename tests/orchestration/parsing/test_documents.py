"""JSON that others wrote is read within limits, and refused with one kind of error."""

from __future__ import annotations

import json
import math

import pytest

from orchestration.parsing.documents import MOST_DEPTH, DamagedDocumentError, parse_document


def nested(levels: int) -> bytes:
    return b'{"a": ' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[" * 200_000, "levels of brackets"),
        (b'{"a": ' + b'{"a": ' * 200_000, "levels of brackets"),
        (nested(MOST_DEPTH + 1), "levels of brackets"),
        (b'{"pid": 1' + b"0" * 5000 + b"}", "integer string conversion"),
        (b'{"beat": Infinity}', "Infinity"),
        (b'{"beat": -Infinity}', "Infinity"),
        (b'{"beat": NaN}', "NaN"),
        (b"[]", "object is needed"),
        (b'"text"', "object is needed"),
        (b"", "Expecting value"),
        (b'{"cut": ', "Expecting value"),
        (b'{"a": 1} {"b": 2}', "Extra data"),
        (b"\xff\xfe\x00", "."),
    ],
)
def test_what_is_no_document_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DamagedDocumentError, match=reason):
        parse_document(content)


def test_brackets_inside_text_are_no_levels() -> None:
    document = {"a": "[" * 1000, "b": ['\\"[[[[', "{" * 500] * 50}
    assert parse_document(json.dumps(document).encode()) == document


def test_the_deepest_allowed_document_is_read() -> None:
    assert parse_document(nested(MOST_DEPTH))["a"]


def test_measured_numbers_may_be_infinite_where_that_is_allowed() -> None:
    values = parse_document(b'{"a": NaN, "b": Infinity, "c": -7}', finite=False)
    assert math.isnan(values["a"])
    assert values["b"] == math.inf
    assert values["c"] == -7
