"""The classes of a dataset, as found and as asked for."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence

_MAX_SHOWN = 10


def agreed_classes(found: Collection[str], wanted: Sequence[str] | None, place: str) -> tuple[str, ...]:
    """Class names in the order of their labels: as wanted, or sorted without a wanted order.

    Raises: ValueError naming every class that is on one side only, or wanted twice.
    """
    if wanted is None:
        return tuple(sorted(found))
    problems, there = [], set(found)
    if twice := sorted(name for name, count in Counter(wanted).items() if count > 1):
        problems.append(f"the class list names twice: {_shown(twice)}")
    if missing := [name for name in wanted if name not in there]:
        problems.append(f"of the class list there are no samples: {_shown(missing, found)}")
    if more := sorted(there - set(wanted)):
        problems.append(f"the class list does not have: {_shown(more, wanted)}")
    if problems:
        raise ValueError(f"{place}: {len(found)} classes, the class list has {len(wanted)}; {'; '.join(problems)}")
    return tuple(wanted)


def _shown(names: Sequence[str], known: Collection[str] = ()) -> str:
    shown = []
    for name in names[:_MAX_SHOWN]:
        near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.8)
        shown.append(repr(name) + (f" (there is {near[0]!r})" if near else ""))
    return ", ".join(shown) + (f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else "")
