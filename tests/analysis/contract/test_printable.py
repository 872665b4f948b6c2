"""Control characters out of what is printed or written."""

from __future__ import annotations

import pytest

from analysis.contract.printable import printable

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x9b2Jgone\b\b \u202ereversed\u2066 \x00end"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HOSTILE, "red 2Jgone reversed end"),
        ("a name\twith ü, 𝒳, ± and\na line", "a name\twith ü, 𝒳, ± and\na line"),
        ("all is well\rdone\r\nnext", "all is well\ndone\nnext"),
        ("\x1b[2K\x1b[1A\x1b(Bx\x1b", "(Bx"),
        ("\x1b]8;;http://elsewhere\x1b\\here\x1b]8;;\x1b\\", "here"),
    ],
)
def test_controls_are_left_out_and_letters_stay(text: str, expected: str) -> None:
    assert printable(text) == expected
