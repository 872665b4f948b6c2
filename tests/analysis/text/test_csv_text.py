"""CSV that a spreadsheet opens: no cell is a formula, numbers stay numbers."""

from __future__ import annotations

import csv
import io

import pytest

from analysis.text.csv_text import csv_text


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ('=HYPERLINK("http://elsewhere")', '\'=HYPERLINK("http://elsewhere")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("-inf", "-inf"),
        (-2.5, "-2.5"),
        ("DFM = ours", "DFM = ours"),
        (None, ""),
    ],
)
def test_a_cell_that_begins_like_a_formula_is_quoted_and_a_number_is_not(value: object, written: str) -> None:
    (line,) = csv.DictReader(io.StringIO(csv_text(["cell"], [{"cell": value}])))
    assert line["cell"] == written
