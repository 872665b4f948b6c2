"""Every exit code means one thing, and docs/running.md lists all of them."""

from __future__ import annotations

import re
from pathlib import Path

from orchestration.common import exit_codes

CODES = {name: value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")}


def test_exit_codes_are_all_different() -> None:
    assert len({0, *CODES.values()}) == len(CODES) + 1


def test_the_page_lists_each_code_once() -> None:
    page = Path("docs/running.md").read_text()
    assert sorted(map(int, re.findall(r"^\| (\d+) \|", page, re.M))) == sorted([0, *CODES.values()])
