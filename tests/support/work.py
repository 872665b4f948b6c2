"""Work as a count: the same on every machine, however busy it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def num_lines(work: Callable[[], object]) -> int:
    """Number of lines of Python that are run in this thread, each time that a loop comes to one."""
    count = 0

    def note(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return note

    before = sys.gettrace()
    sys.settrace(note)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


class CountedName(str):
    """A name that counts how often one like it is compared."""

    num_compared = 0

    def __eq__(self, other: object) -> bool:
        CountedName.num_compared += 1
        return super().__eq__(other)

    __hash__ = str.__hash__
