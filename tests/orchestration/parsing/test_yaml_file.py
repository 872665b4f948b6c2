"""Slips in YAML: told by their line and what to write, without a word of the file."""

from __future__ import annotations

import pytest

from orchestration.common.errors import UserError
from orchestration.parsing.yaml_file import parsed_mapping


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hush: 1\nb:\n\tc: 2\n", "cannot start any token (line 3): a tab; indent with spaces"),
        ("hush: @c\n", "(line 1): put a value that begins with @, % or ` in quotes"),
        (
            "a:\n  hush 5\n\n  c: 3\n",
            "(line 4); look at line 2 too: 'key: value' needs a colon and a space",
        ),
        ("a: hush: c\n", "(line 1): 'key: value' needs a colon and a space"),
        ("hush: 1\nb: 2\nhush: 3\n", "found duplicate key (line 3): line 1 has it already"),
        ("x:\n  hush: 1\n  b: 2\n  hush: 3\n", "found duplicate key (line 4): line 2 has it already"),
        ("a: {hush: 1, hush: 2}\n", "found duplicate key (line 1)"),
    ],
)
def test_a_slip_is_told_with_its_line_and_what_to_write(text: str, expected: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed_mapping(text, "a.yaml")
    told = str(caught.value)
    assert told.startswith("a.yaml: not valid YAML: ")
    assert told.endswith(expected)
    assert "hush" not in told
